(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const styles = getComputedStyle(document.documentElement);
  const colour = (name) => styles.getPropertyValue("--" + name).trim() || name;
  const coloured = (part) => {
    if (Array.isArray(part)) return part.map(coloured);
    if (part && typeof part === "object") {
      return Object.fromEntries(Object.entries(part).map(([key, value]) => [
        key, /^(color|fillcolor)$/.test(key) && typeof value === "string" ? colour(value) : coloured(value),
      ]));
    }
    return part;
  };
  const draw = () => {
    for (const [id, figure] of Object.entries(figures)) {
      const small = document.getElementById(id).clientWidth < 480;
      const line = { gridcolor: colour("grid"), linecolor: colour("rule"), tickcolor: colour("rule"), zeroline: false, automargin: true };
      const axis = (own) => ({
        ...line, ...own, nticks: small ? 5 : 8, title: { ...own.title, font: { size: 12.5 }, standoff: 8 },
      });
      const layout = {
        ...coloured(figure.layout),
        xaxis: axis(figure.layout.xaxis),
        yaxis: axis(figure.layout.yaxis),
        margin: { l: 8, r: 12, t: 8, b: 8 },
        legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
        paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)",
        font: { family: styles.getPropertyValue("--sans"), size: 12.5, color: colour("muted") },
        hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("rule"), font: { color: colour("ink") }, align: "left" },
        dragmode: false,
        autosize: true,
      };
      Plotly.react(id, coloured(figure.data), layout, { displayModeBar: false, responsive: true });
    }
  };
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  window.matchMedia("(max-width: 720px)").addEventListener("change", draw);
  draw();
})();
