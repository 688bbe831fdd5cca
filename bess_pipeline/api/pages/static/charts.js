// Draws the figures of a page; colours are those of the style sheet, light or dark.
"use strict";

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function faint(name) {
  return `color-mix(in srgb, ${colour(name)} 22%, transparent)`;
}

function mixed(name) {
  // Plotly knows no color-mix: a canvas says what it is in numbers.
  const pen = document.createElement("canvas").getContext("2d");
  pen.fillStyle = faint(name);
  pen.fillRect(0, 0, 1, 1);
  const [red, green, blue, alpha] = pen.getImageData(0, 0, 1, 1).data;
  return `rgba(${red},${green},${blue},${(alpha / 255).toFixed(3)})`;
}

function coloured(trace) {
  const { role, is_band: isBand, ...told } = trace;
  const own = colour(role);
  if (told.type === "heatmap") {
    return { ...told, colorscale: [[0, colour("bad")], [0.5, colour("limit")], [1, colour("good")]] };
  }
  if (told.type === "bar") return { ...told, marker: { color: own } };
  const line = { color: own, width: 2, ...told.line };
  return isBand ? { ...told, line, fillcolor: mixed(role) } : { ...told, line };
}

function laidOut(layout, height) {
  const text = colour("text"), rule = colour("rule");
  const axis = { color: text, gridcolor: rule, zerolinecolor: rule, automargin: true };
  return {
    ...layout,
    height,
    margin: { l: 56, r: 16, t: 28, b: 72 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: text, family: "system-ui, sans-serif", size: 12 },
    hovermode: "closest",
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom" },
    xaxis: { ...axis, ...layout.xaxis },  // times are UTC, as the foot of the page says
    yaxis: { ...axis, ...layout.yaxis },
    shapes: (layout.shapes || []).map(({ role, ...shape }) => (
      { ...shape, line: { color: colour(role), width: 1.5, dash: "dot", ...shape.line } }
    )),
  };
}

function draw(place) {
  const { data, layout } = JSON.parse(place.querySelector("script").textContent);
  let canvas = place.querySelector(".canvas");
  if (!canvas) {
    canvas = document.createElement("div");
    canvas.className = "canvas";
    place.append(canvas);
  }
  const settings = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
  Plotly.react(canvas, data.map(coloured), laidOut(layout, Number(place.dataset.height)), settings);
}

function drawAll() {
  document.querySelectorAll(".plot").forEach(draw);
}

drawAll();
addEventListener("themed", drawAll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
