// Curves by Chart.js, which is fetched when the first is drawn; and the sparklines of tables, which are one line of SVG.

import { h, svg } from "./dom.js";
import { clockTime, utc } from "./format.js";

const WIDTH = 96;
const HEIGHT = 20;

export function sparkline(values, label) {
  const known = (values ?? []).filter((value) => value !== null);
  const picture = svg("svg", { class: "sparkline", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
  if (known.length < 2) return picture;
  const [lowest, highest] = [Math.min(...known), Math.max(...known)];
  const range = highest - lowest || 1;
  const points = values.flatMap((value, place) => {
    if (value === null) return [];
    const x = (place / (values.length - 1)) * WIDTH;
    const y = highest === lowest ? HEIGHT - 2 : HEIGHT - 2 - ((value - lowest) / range) * (HEIGHT - 4);
    return [`${x.toFixed(1)},${y.toFixed(1)}`];
  });
  picture.append(svg("polyline", { points: points.join(" "), fill: "none" }));
  return picture;
}

// A colour of the style sheet as a canvas understands it: what light-dark() comes to in this theme.
function colour(name) {
  const probe = h("span", { hidden: true });
  document.body.append(probe);
  probe.style.color = `var(${name})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

const charts = new Set();

const ends = (times) => ({ min: times[0], max: times.at(-1) });

function options(format, times, isLegendNeeded) {
  const grid = { color: colour("--line"), drawTicks: false };
  const ticks = { color: colour("--quiet"), font: { size: 11 }, maxTicksLimit: 6, maxRotation: 0, align: "inner" };
  return {
    animation: false,
    responsive: true,
    maintainAspectRatio: false,
    parsing: false,
    normalized: true,
    interaction: { mode: "index", intersect: false },
    scales: {
      x: { type: "linear", ...ends(times), grid: { display: false }, border: { color: colour("--line") },
           ticks: { ...ticks, callback: (value) => clockTime(value) } },
      y: { beginAtZero: true, grid, border: { display: false }, ticks: { ...ticks, align: "center", maxTicksLimit: 5, callback: format } },
    },
    plugins: {
      legend: { display: isLegendNeeded, position: "bottom", align: "start",
                labels: { color: colour("--text"), boxWidth: 14, boxHeight: 1, font: { size: 12 } } },
      tooltip: { callbacks: {
        title: (items) => (items.length ? `${clockTime(items[0].parsed.x)} · ${utc(items[0].parsed.x)}` : ""),
        label: (item) => `${item.dataset.label}: ${format(item.parsed.y)}`,
      } },
    },
  };
}

// A figure with one curve for each series. `update(times, {name: values})` draws it anew.
export function curves(title, series, format) {
  const canvas = h("canvas", { role: "img", "aria-label": title });
  const note = h("p", { class: "quiet none" }, "Drawn as soon as there are two moments to join.");
  const figure = h("figure", { class: "card" }, h("figcaption", {}, title), h("div", { class: "plot" }, canvas, note));
  let chart = null;
  let held = null;
  async function draw() {
    if (!held) return;
    if (!window.Chart) await import("/static/charts.js");
    const { times, values } = held;
    const datasets = series.map(({ name, label }, place) => ({
      label,
      data: times.map((x, moment) => ({ x, y: values[name]?.[moment] ?? NaN })),
      borderColor: colour(`--curve-${place}`),
      backgroundColor: colour(`--curve-${place}`),
      borderWidth: 1.5,
      pointRadius: 0,
      pointHitRadius: 8,
      cubicInterpolationMode: "monotone",
    }));
    note.hidden = times.length > 1;
    if (chart && canvas.isConnected) {
      chart.data.datasets.forEach((dataset, place) => { dataset.data = datasets[place].data; });
      Object.assign(chart.options.scales.x, ends(times));
      chart.update("none");
    } else if (canvas.isConnected) {
      chart = new window.Chart(canvas, { type: "line", data: { datasets }, options: options(format, times, series.length > 1) });
    }
    const last = series.map(({ name, label }) => [label, values[name]?.at(-1)])
      .filter(([, value]) => value !== null && value !== undefined && !Number.isNaN(value));
    canvas.setAttribute("aria-label", `${title}; now ${last.map(([label, value]) => `${label} ${format(value)}`).join(", ")}`);
  }
  const handle = {
    figure,
    update(times, values) { held = { times, values }; draw(); },
    repaint() { chart?.destroy(); chart = null; draw(); },
    close() { chart?.destroy(); charts.delete(handle); },
  };
  charts.add(handle);
  return handle;
}

export function repaintAll() {
  for (const chart of charts) chart.repaint();
}
