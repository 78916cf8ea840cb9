// Firing alerts first, and those that ended within the hour, which fade.

import { fill, h, linkTo, named, readable } from "./dom.js";
import { dash, duration, interval, number, quantity, time } from "./format.js";
import { state } from "./stream.js";

const CUSTOMERS_SHOWN = 5;
const RESOLVED_SHOWN = 5;
const LEAST_OPACITY = 0.6; // still readable
const FADES_MS = 60 * 60 * 1000;

const WINDOWS = { total: "to date" };
const windowName = (name) => (name ? (WINDOWS[name] ?? `in ${name}`) : "");

function subject(alert) {
  if (alert.dimension === "customer") return h("span", {}, "customer ", named(alert.key));
  if (alert.dimension === "all") return h("span", {}, "everything");
  const pair = alert.dimension === "campaign_segment" ? campaignAndSegment(alert.key) : null;
  if (pair) return h("span", {}, "campaign ", linkTo("campaign", pair[0]), " in segment ", linkTo("segment", pair[1]));
  return h("span", {}, `${alert.dimension} `, linkTo(alert.dimension, alert.key));
}

// The two names in a key; null where it is not made of two.
export function campaignAndSegment(key) {
  const names = String(key).split("/");
  try {
    return names.length === 2 ? names.map(decodeURIComponent) : null;
  } catch {
    return null;
  }
}

// How much, and against what: the value, its interval, the counts behind it, the threshold and what is usual.
function evidence(alert) {
  const metric = alert.kind === "churn" ? "score" : alert.metric;
  const parts = [];
  if (alert.value !== null && alert.value !== undefined) parts.push(h("strong", {}, quantity(metric, alert.value)));
  if (alert.low !== null && alert.low !== undefined && alert.high !== null)
    parts.push(h("small", { title: "95 % interval" }, ` ${interval(alert.low, alert.high)}`));
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

function since(alert) {
  const began = Date.parse(alert.started_at);
  const now = Date.parse(alert.as_of);
  return h("span", { class: "since" }, "since ", time(began), now > began ? [" for ", duration((now - began) / 1000)] : []);
}

function card(alert) {
  return h("li", { class: `alert ${alert.severity}`, "data-fingerprint": alert.fingerprint },
    h("span", { class: "severity" }, alert.severity),
    h("div", { class: "what" },
      h("p", { class: "summary" }, h("bdi", {}, readable(alert.summary))),
      h("p", { class: "meta" }, subject(alert), h("span", { class: "rule" }, named(alert.rule)), since(alert), runbook(alert)),
      (alert.reasons ?? []).length
        ? h("details", {}, h("summary", {}, "Why"),
            h("ul", {}, alert.reasons.map((reason) => h("li", {}, h("bdi", {}, readable(reason))))))
        : null),
    h("div", { class: "evidence" }, evidence(alert)));
}

// One line for an alert that is over; the whole sentence when it is pointed at.
function line(alert) {
  const sentence = readable(alert.summary);
  const item = h("li", { class: "over", title: sentence },
    h("span", { class: "severity" }, "resolved"), h("bdi", { class: "sentence" }, sentence), time(Date.parse(alert.ended_at)));
  item.style.opacity = Math.max(LEAST_OPACITY, 1 - (Date.now() - alert.told_at) / FADES_MS).toFixed(1);
  return item;
}

export function alertsPanel() {
  const title = h("h2", {}, "Firing alerts");
  const list = h("ul", { id: "firing" });
  const rest = h("p", { class: "calm" });
  const resolvedTitle = h("h3", { class: "later" }, "Resolved within the hour");
  const resolvedList = h("ul", { class: "alerts", id: "resolved" });
  const drawn = new Map();

  function update() {
    const customers = state.alerts.filter(({ dimension }) => dimension === "customer");
    const others = state.alerts.filter(({ dimension }) => dimension !== "customer");
    const shown = [...others, ...customers.slice(0, CUSTOMERS_SHOWN)];
    const total = Object.values(state.firing).reduce((sum, count) => sum + count, 0);
    fill(title, "Firing alerts ", h("span", { class: "count" }, number(total)));
    place(shown);
    const left = total - shown.length;
    rest.hidden = shown.length > 0 && left <= 0;
    fill(rest, shown.length
      ? [`${number(left)} more, nearly all of them customers at risk: see `, h("a", { href: "#/churn" }, "Churn"), "."]
      : "Nothing fires.");
    resolvedTitle.hidden = resolvedList.hidden = state.resolved.length === 0;
    fill(resolvedList, state.resolved.slice(0, RESOLVED_SHOWN).map(line));
  }

  // An alert that has not changed keeps its element, so that its reasons stay open.
  function place(alerts) {
    const wanted = alerts.map((alert) => {
      const stamp = JSON.stringify(alert);
      const known = drawn.get(alert.fingerprint);
      if (known?.stamp === stamp) return known.element;
      const element = card(alert);
      if (known?.element.querySelector("details")?.open) element.querySelector("details")?.setAttribute("open", "");
      drawn.set(alert.fingerprint, { stamp, element });
      return element;
    });
    const same = wanted.length === list.children.length && wanted.every((element, at) => list.children[at] === element);
    if (!same) list.replaceChildren(...wanted);
    const firing = new Set(alerts.map(({ fingerprint }) => fingerprint));
    for (const fingerprint of drawn.keys()) if (!firing.has(fingerprint)) drawn.delete(fingerprint);
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
