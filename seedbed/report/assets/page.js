(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const titles = { tokens: "tokens trained on", seconds: "training time", flops: "training FLOPs" };
  const styles = getComputedStyle(document.documentElement);
  const colour = (name) => styles.getPropertyValue("--" + name).trim() || name;
  const narrow = window.matchMedia("(max-width: 720px)");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let unit = "tokens";
  let measure = "documents";

  // Figures name their colours; the page's style knows them, by day and by night.
  const painted = (value, key) => {
    if (key === "color" && typeof value === "string") return colour(value);
    if (!value || typeof value !== "object" || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, painted(inner, name)]));
  };

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
      const hanging = id === "waterfall";
      const data = figure.data.map((trace) => {
        const text = hanging ? { text: trace.customdata[measure] } : {};
        return { ...painted(trace), ...text, x: trace.meta[hanging ? measure : unit] };
      });
      const small = document.getElementById(id).clientWidth < 480;
      const axis = { gridcolor: colour("grid"), linecolor: colour("rule"), tickcolor: colour("rule") };
      const timed = unit === "seconds" && !hanging;
      const ticks = timed ? timeTicks(figure.data, small) : { nticks: small ? 5 : 8 };
      const title = hanging ? measure : titles[unit];
      const layout = {
        ...figure.layout,
        xaxis: { ...figure.layout.xaxis, ...axis, ...ticks, title: { text: title, font: { size: 12.5 } } },
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

  const choose = (name, set) =>
    document.querySelectorAll(`.switch button[data-${name}]`).forEach((button, _, all) => {
      button.addEventListener("click", () => {
        set(button.dataset[name]);
        all.forEach((each) => each.setAttribute("aria-pressed", String(each === button)));
        draw();
      });
    });
  choose("unit", (value) => (unit = value));
  choose("measure", (value) => (measure = value));
  dark.addEventListener("change", draw);
  narrow.addEventListener("change", draw);
  draw();
})();
