(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const titles = { tokens: "tokens trained on", seconds: "training time", flops: "training FLOPs" };
  const styles = getComputedStyle(document.documentElement);
  const colour = (name) => styles.getPropertyValue("--" + name).trim() || name;
  const narrow = window.matchMedia("(max-width: 720px)");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let unit = "tokens";

  const timeTicks = (traces, small) => {
    const last = Math.max(...traces.flatMap((trace) => trace.meta.seconds.slice(-1)));
    const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
    const [size, name] = units.find(([seconds]) => last >= 3 * seconds) || units[3];
    const steps = [1, 2, 5, 10, 15, 20, 30, 50, 100, 200, 500, 1000].map((step) => step * size);
    const step = steps.find((each) => last / each <= (small ? 5 : 8)) || last;
    const tickvals = Array.from({ length: Math.floor(last / step) + 1 }, (_, index) => index * step);
    return { tickvals, ticktext: tickvals.map((value) => `${value / size} ${name}`) };
  };

  const draw = () => {
    for (const [id, figure] of Object.entries(figures)) {
      const data = figure.data.map((trace) => ({
        ...trace,
        x: trace.meta[unit],
        line: { ...trace.line, color: colour(trace.line.color) },
        marker: { ...trace.marker, color: colour(trace.marker.color) },
      }));
      const small = document.getElementById(id).clientWidth < 480;
      const axis = { gridcolor: colour("grid"), linecolor: colour("rule"), tickcolor: colour("rule") };
      const ticks = unit === "seconds" ? timeTicks(figure.data, small) : { nticks: small ? 5 : 8 };
      const layout = {
        ...figure.layout,
        xaxis: { ...figure.layout.xaxis, ...axis, ...ticks, title: { text: titles[unit], font: { size: 12.5 } } },
        yaxis: { ...figure.layout.yaxis, ...axis },
        paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)",
        font: { family: styles.getPropertyValue("--sans"), size: 12.5, color: colour("muted") },
        hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("rule"), font: { color: colour("ink") } },
        dragmode: false,
        autosize: true,
      };
      Plotly.react(id, data, layout, { displayModeBar: false, responsive: true });
    }
  };

  document.querySelectorAll(".switch button").forEach((button, _, all) => {
    button.addEventListener("click", () => {
      unit = button.dataset.unit;
      all.forEach((each) => each.setAttribute("aria-pressed", String(each === button)));
      draw();
    });
  });
  dark.addEventListener("change", draw);
  narrow.addEventListener("change", draw);
  draw();
})();
