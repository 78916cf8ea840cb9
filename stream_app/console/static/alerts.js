// Firing alerts first, and those that ended within the hour, which fade.

import { fill, h, linkTo, named, readable } from "./dom.js";
import { dash, duration, number, percent, quantity, time } from "./format.js";
import { state } from "./stream.js";

const CUSTOMERS_SHOWN = 5;
const FADES_MS = 60 * 60 * 1000;

const WINDOWS = { total: "to date" };
const windowName = (name) => (name ? (WINDOWS[name] ?? `in ${name}`) : "");

function subject(alert) {
  if (alert.dimension === "customer") return h("span", {}, "customer ", named(alert.key));
  if (alert.dimension === "all") return h("span", {}, "everything");
  return h("span", {}, `${alert.dimension} `, linkTo(alert.dimension, alert.key));
}

// How much, and against what: the value, its interval, the counts behind it, the threshold and what is usual.
function evidence(alert) {
  const metric = alert.kind === "churn" ? "score" : alert.metric;
  const parts = [];
  if (alert.value !== null && alert.value !== undefined) parts.push(h("strong", {}, quantity(metric, alert.value)));
  if (alert.low !== null && alert.low !== undefined && alert.high !== null)
    parts.push(h("small", { title: "95 % interval" }, ` ${percent(alert.low, 2).slice(0, -2)}–${percent(alert.high, 2)}`));
  const against = [];
  if (alert.denominator) against.push(`${number(alert.numerator ?? 0)} of ${number(alert.denominator)}`);
  if (alert.threshold !== null && alert.threshold !== undefined) against.push(`limit ${quantity(metric, alert.threshold)}`);
  if (alert.baseline !== null && alert.baseline !== undefined) against.push(`usually ${quantity(metric, alert.baseline)}`);
  return [h("span", { class: "value" }, parts.length ? parts : dash("this alert has no number of its own")),
          h("span", { class: "against" }, against.join(" · ") || windowName(alert.window))];
}

function runbook(alert) {
  if (!alert.runbook) return null;
  let address = null;
  try {
    const parsed = new URL(alert.runbook);
    if (parsed.protocol === "https:" || parsed.protocol === "http:") address = parsed.href;
  } catch {
    // No address: it is shown as the text it is.
  }
  return address
    ? h("a", { class: "runbook", href: address, rel: "noreferrer noopener", target: "_blank" }, "Runbook")
    : h("span", { class: "runbook quiet" }, named(alert.runbook));
}

function since(alert, isResolved) {
  const began = Date.parse(alert.started_at);
  const until = isResolved ? Date.parse(alert.ended_at) : Date.parse(alert.as_of);
  const lasted = until > began ? [" for ", duration((until - began) / 1000)] : [];
  return h("span", { class: "since" }, isResolved ? "from " : "since ", time(began), lasted);
}

function card(alert, isResolved) {
  const severity = isResolved ? "resolved" : alert.severity;
  const item = h("li", { class: `alert ${severity}`, "data-fingerprint": alert.fingerprint },
    h("span", { class: "severity" }, severity),
    h("div", { class: "what" },
      h("p", { class: "summary" }, h("bdi", {}, readable(alert.summary))),
      h("p", { class: "meta" }, subject(alert), h("span", { class: "rule" }, named(alert.rule)), since(alert, isResolved), runbook(alert)),
      (alert.reasons ?? []).length && !isResolved
        ? h("details", {}, h("summary", {}, "Why"), h("ul", {}, alert.reasons.map((reason) => h("li", {}, h("bdi", {}, readable(reason))))))
        : null),
    h("div", { class: "evidence" }, evidence(alert)));
  return item;
}

export function alertsPanel() {
  const title = h("h2", {}, "Firing alerts");
  const list = h("ul", { id: "firing" });
  const rest = h("p", { class: "calm" });
  const resolvedTitle = h("h3", { class: "later" }, "Resolved within the hour");
  const resolvedList = h("ul", { class: "alerts faded", id: "resolved" });
  const drawn = new Map();

  function update() {
    const customers = state.alerts.filter(({ dimension }) => dimension === "customer");
    const others = state.alerts.filter(({ dimension }) => dimension !== "customer");
    const shown = [...others, ...customers.slice(0, CUSTOMERS_SHOWN)];
    const total = Object.values(state.firing).reduce((sum, count) => sum + count, 0);
    fill(title, "Firing alerts ", h("span", { class: "count" }, number(total)));
    place(list, shown, false);
    const left = total - shown.length;
    rest.hidden = shown.length > 0 && left <= 0;
    fill(rest, shown.length
      ? [`${number(left)} more, nearly all of them customers at risk: see `, h("a", { href: "#/churn" }, "Churn"), "."]
      : "Nothing fires.");
    resolvedTitle.hidden = state.resolved.length === 0;
    resolvedList.hidden = resolvedTitle.hidden;
    place(resolvedList, state.resolved.slice(0, 10), true);
    for (const item of resolvedList.children) {
      const told = Number(item.dataset.told);
      item.style.opacity = String(Math.max(0.4, 1 - (Date.now() - told) / FADES_MS).toFixed(2));
    }
  }

  // An alert that has not changed keeps its element, so that its reasons stay open.
  function place(into, alerts, isResolved) {
    const wanted = alerts.map((alert) => {
      const key = `${isResolved}:${alert.fingerprint}`;
      const stamp = JSON.stringify(alert);
      const known = drawn.get(key);
      if (known?.stamp === stamp) return known.element;
      const element = card(alert, isResolved);
      if (isResolved) element.dataset.told = alert.told_at;
      if (known?.element.querySelector("details")?.open) element.querySelector("details")?.setAttribute("open", "");
      drawn.set(key, { stamp, element });
      return element;
    });
    const same = wanted.length === into.children.length && wanted.every((element, at) => into.children[at] === element);
    if (!same) into.replaceChildren(...wanted);
  }

  return {
    element: h("section", { "aria-label": "Alerts" }, title, h("div", { class: "alerts" }, list, rest),
      resolvedTitle, resolvedList),
    update,
  };
}

export const alertsInTitle = () => {
  const critical = state.firing.critical ?? 0;
  const total = Object.values(state.firing).reduce((sum, count) => sum + count, 0);
  return total ? `(${critical || total}) ` : "";
};
