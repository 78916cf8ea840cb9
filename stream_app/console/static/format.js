// Numbers, times and the dash for what nobody can know.

import { h } from "./dom.js";

export const metrics = {};
// The catalogue: each metric's unit, meaning and formula. Filled at the start.

const whole = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 2 });

export const number = (value) =>
  Number.isInteger(value) || Math.abs(value) >= 1000 ? whole.format(value) : fine.format(value);

export function percent(value, digits = Math.abs(value) < 0.1 ? 2 : 1) {
  return `${(100 * value).toFixed(digits)} %`;
}

// The ends of an interval, as fine as a rate of that size is shown.
export function interval(low, high) {
  const digits = high < 0.1 ? 2 : 1;
  return `${percent(low, digits).slice(0, -2)}–${percent(high, digits)}`;
}

export function duration(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 100) return `${fine.format(Math.round(seconds * 10) / 10)} s`;
  const minutes = seconds / 60;
  if (minutes < 100) return `${Math.round(minutes)} min`;
  const hours = minutes / 60;
  return hours < 48 ? `${fine.format(Math.round(hours * 10) / 10)} h` : `${Math.round(hours / 24)} days`;
}

export const dash = (reason) =>
  h("span", { class: "dash", title: reason, role: "img", "aria-label": `not known: ${reason}` }, "—");

export function quantity(metric, value) {
  const unit = metrics[metric]?.unit;
  if (unit === "ratio" || metric === "score") return percent(value);
  return unit === "seconds" ? duration(value) : number(value);
}

// A rate as [value, low, high] with its interval in small print; a dash where its denominator is 0.
export function rate(metric, held, withInterval = false) {
  const [value, low, high] = held ?? [null, null, null];
  if (value === null) {
    const parts = metrics[metric]?.formula?.split(" / ")[1] ?? "its denominator";
    return dash(`no ${parts.replaceAll("_", " ")} yet, so there is nothing to divide by`);
  }
  const shown = quantity(metric, value);
  if (low === null || low === undefined) return h("span", {}, shown);
  const between = interval(low, high);
  const words = `95 % interval: ${between}`;
  return withInterval
    ? h("span", {}, shown, " ", h("small", { title: words }, between))
    : h("span", { title: words }, shown);
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, {
  day: "numeric", month: "short", hour: "2-digit", minute: "2-digit",
});

export const utc = (ms) => `${new Date(ms).toISOString().replace("T", " ").slice(0, 19)} UTC`;

// A moment in the viewer's own zone, in UTC when pointed at.
export function time(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return dash("no event yet");
  const isToday = new Date(ms).toDateString() === new Date().toDateString();
  const date = new Date(ms);
  return h("time", { datetime: date.toISOString(), title: utc(ms) }, (isToday ? clock : day).format(date));
}

export const clockTime = (ms) => clock.format(new Date(ms));
