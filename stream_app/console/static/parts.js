// Parts that several pages share: a strip of figures, a list of numbers by window, a table of segments or channels.

import { fill, h, linkTo } from "./dom.js";
import { dash, metrics, number, quantity, rate } from "./format.js";
import { state } from "./stream.js";
import { table } from "./table.js";

// A customer's stages, as the catalogue's stage_… and became_… name them.
export const STAGES = ["new", "active", "cooling", "dormant", "left", "returned"];

export const WINDOWS = ["1h", "24h", "total"];
const NAMES = { total: "to date" };
export const windowLabel = (name) => NAMES[name] ?? name;

// The value of a count or a rate of a window, with a dash where nobody can know it.
export function value(numbers, metric, withInterval = false) {
  const held = numbers?.[metric];
  if (held === undefined) return dash("no numbers have been told of this yet");
  if (Array.isArray(held)) return rate(metric, held, withInterval);
  if (typeof held === "object") return amounts(held);
  return document.createTextNode(quantity(metric, held));
}

const money = (value, currency) => {
  try {
    return new Intl.NumberFormat(undefined, { style: "currency", currency, maximumFractionDigits: 0 }).format(value);
  } catch {
    return currency ? `${number(value)} ${currency}` : number(value);
  }
};

function amounts(byCurrency) {
  const parts = Object.entries(byCurrency).map(([currency, amount]) => money(amount, currency));
  return parts.length ? h("span", {}, parts.join(" · ")) : dash("no amounts in this window");
}

export const label = (metric) => {
  const words = metric.replace(/^stage_/, "").replaceAll("_", " ").replace(/^(mean|chats|tickets|carts) /, (word) => word);
  return words.charAt(0).toUpperCase() + words.slice(1).replace(/\bctr\b/, "CTR");
};

// A strip of figures: [{label, title, show: () => node, href}].
export function figures(list) {
  const cells = list.map(({ label: words, title, href }) => {
    const shown = h("dd");
    return { shown, element: h("div", { class: "figure", title }, h("dt", {}, href ? h("a", { href }, words) : words), shown) };
  });
  return {
    element: h("dl", { class: "figures" }, cells.map(({ element }) => element)),
    update: () => cells.forEach(({ shown }, place) => fill(shown, list[place].show())),
  };
}

// Metrics down, windows across. Below a title such as Carts, "Carts started" is "Started".
export function byWindow(title, names, windows, numbersOf) {
  const cells = names.map((metric) => windows.map(() => h("td", { class: "number" })));
  const rows = names.map((metric, place) => h("tr", {},
    h("th", { scope: "row", title: metrics[metric]?.meaning }, LABELS[metric] ?? label(metric.replace(`${title.toLowerCase()}_`, ""))), cells[place]));
  const element = h("section", { class: "card" }, h("h3", {}, title),
    h("table", { class: windows.length > 3 ? "windows many" : "windows" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span", { class: "hidden" }, "Metric")),
        windows.map((name) => h("th", { scope: "col", class: "number" }, windowLabel(name))))),
      h("tbody", {}, rows)));
  return {
    element,
    update: () => names.forEach((metric, row) => windows.forEach((name, column) =>
      fill(cells[row][column], value(numbersOf(name), metric, true)))),
  };
}

export const LABELS = {
  ctr: "Click rate (CTR)",
  ctor: "Click-to-open rate (CTOR)",
  ctr_adjusted: "Adjusted CTR",
  csat: "Satisfied (CSAT)",
  mean_chat_wait: "Mean wait for an answer",
  mean_resolution_time: "Mean time to resolution",
  mean_reply_time: "Mean time to first reply",
  optouts: "Opt-outs",
  optout_rate: "Opt-out rate",
  disengagement_rate: "Gone for good",
};

export const ofAll = (window) => state.keys.get("all:all")?.windows[window];

// A table of segments or channels in a chosen window.
const groups = (dimension, window) =>
  [...state.keys.entries()]
    .filter(([key]) => key.startsWith(`${dimension}:`))
    .map(([key, view]) => ({ key: key.slice(dimension.length + 1), numbers: view.windows[window], stamp: `${window} ${JSON.stringify(view.windows[window])}` }));

export const metricColumn = (metric, words) => ({
  name: metric,
  label: words ?? LABELS[metric] ?? label(metric),
  title: metrics[metric]?.meaning,
  kind: "number",
  sort: ({ numbers }) => {
    const held = numbers[metric];
    return (Array.isArray(held) ? held[0] : held) ?? null;
  },
  cell: ({ numbers }) => value(numbers, metric),
});

export function windowChoice(onchange, chosen = "24h") {
  const select = h("select", { "aria-label": "Window", onchange: () => onchange(select.value) },
    WINDOWS.map((name) => h("option", { value: name, selected: name === chosen }, windowLabel(name))));
  return select;
}

export const groupColumn = (dimension, words) => ({
  name: "key", label: words, kind: "text", sort: ({ key }) => key, cell: ({ key }) => linkTo(dimension, key),
});

// A table of a dimension's keys in a window that can be chosen.
export function groupTable(title, dimension, columns, sortedBy) {
  let window = "24h";
  const held = table(title, [groupColumn(dimension, title), ...columns], { sortedBy });
  const update = () => held.update(groups(dimension, window), `No event has named a ${dimension} yet.`);
  const choice = windowChoice((name) => { window = name; update(); });
  return { element: h("section", {}, h("div", { class: "heading" }, h("h2", {}, `${title}s`), choice), held.element), update };
}
