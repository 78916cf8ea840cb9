// The pages but the first and churn's: segments and channels, carts, service, the pipeline, and a key's own page.

import { campaignSegments } from "./breakdown.js";
import { curves } from "./curves.js";
import { fill, h, named } from "./dom.js";
import { dash, duration, number, percent, time } from "./format.js";
import { byWindow, figures, groupTable, metricColumn, ofAll, STAGES, value, WINDOWS, windowLabel } from "./parts.js";
import { askAgain, state } from "./stream.js";
import { table } from "./table.js";

const CURVES_EVERY_MS = 5000;

// Asks for a key's numbers and curves now, and again while the page is open.
const watched = (dimension, key, onAnswer, onProblem) =>
  askAgain(`/api/key?dimension=${dimension}&key=${encodeURIComponent(key)}`, CURVES_EVERY_MS, onAnswer, onProblem);

const ratios = (top, bottom) => (top ?? []).map((value, at) =>
  value === null || !bottom[at] ? null : value / bottom[at]);

// As above, of proportions. In a short window after a send more people can click than mails went out: that is no proportion,
// and one such moment would flatten the curve of all others.
const proportions = (top, bottom) => ratios(top, bottom).map((value) => (value > 1 ? null : value));

const sinceNote = (times) => h("p", { class: "quiet" },
  times.length ? ["Curves since ", time(times[0]), ", when this console began to remember."] : "");

export function segmentsPage() {
  const segments = groupTable("Segment", "segment", [
    metricColumn("deliveries", "Delivered"), metricColumn("open_rate", "Open rate"), metricColumn("ctr", "CTR"),
    metricColumn("ctor", "CTOR"), metricColumn("optout_rate", "Opt-outs"), metricColumn("disengagement_rate"),
    metricColumn("abandonment_rate", "Carts abandoned"), metricColumn("missed_chat_rate", "Chats missed"), metricColumn("csat", "CSAT"),
  ], "deliveries");
  const channels = groupTable("Channel", "channel", [
    metricColumn("chats_started", "Chats"), metricColumn("missed_chat_rate", "Missed"), metricColumn("mean_chat_wait", "Mean wait"),
    metricColumn("tickets_opened", "Tickets"), metricColumn("mean_resolution_time", "Resolution"),
    metricColumn("reopen_rate", "Reopened"), metricColumn("csat", "CSAT"),
  ], "chats_started");
  return {
    title: "Segments",
    element: h("div", {}, segments.element, channels.element),
    update() { segments.update(); channels.update(); },
  };
}

export function cartsPage() {
  const numbers = byWindow("Carts", ["carts_started", "carts_purchased", "carts_abandoned", "carts_recovered", "abandonment_rate",
    "recovery_rate", "purchased_value", "abandoned_value"], WINDOWS, ofAll);
  const ends = curves("Carts within an hour", [{ name: "1h.carts_purchased", label: "purchased" },
    { name: "1h.carts_abandoned", label: "abandoned" }, { name: "1h.carts_recovered", label: "recovered" }], number);
  const rates = curves("Abandonment rate, 1h", [{ name: "rate", label: "abandoned of those that ended" }], (value) => percent(value, 0));
  const segments = groupTable("Segment", "segment", ["carts_started", "carts_purchased", "carts_abandoned", "abandonment_rate",
    "recovery_rate", "abandoned_value"].map((metric) => metricColumn(metric)), "carts_started");
  const note = h("div");
  const close = watched("all", "all", ({ times, curves: held }) => {
    const abandoned = held["1h.carts_abandoned"];
    const ended = abandoned.map((count, at) => count + held["1h.carts_purchased"][at]);
    ends.update(times, held);
    rates.update(times, { rate: ratios(abandoned, ended) });
    fill(note, sinceNote(times));
  });
  return {
    title: "Carts",
    element: h("div", {}, h("div", { class: "columns three" }, numbers.element, ends.figure, rates.figure), note, segments.element),
    update() { numbers.update(); segments.update(); },
    close() { close(); ends.close(); rates.close(); },
  };
}

export function servicePage() {
  const chats = byWindow("Chats", ["chats_started", "chats_answered", "chats_missed", "missed_chat_rate", "mean_chat_wait"], WINDOWS, ofAll);
  const tickets = byWindow("Tickets", ["tickets_opened", "tickets_resolved", "tickets_reopened", "reopen_rate", "first_contact_rate",
    "mean_reply_time", "mean_resolution_time", "csat"], WINDOWS, ofAll);
  const missed = curves("Chats within an hour", [{ name: "1h.chats_started", label: "started" },
    { name: "1h.chats_missed", label: "missed" }], number);
  const waits = curves("Mean wait for an answer, 1h", [{ name: "wait", label: "mean wait" }], duration);
  const cases = curves("Tickets within an hour", [{ name: "1h.tickets_opened", label: "opened" },
    { name: "1h.tickets_resolved", label: "resolved" }, { name: "1h.tickets_reopened", label: "reopened" }], number);
  const channels = groupTable("Channel", "channel", ["chats_started", "missed_chat_rate", "mean_chat_wait", "tickets_opened",
    "mean_resolution_time", "reopen_rate", "csat"].map((metric) => metricColumn(metric)), "chats_started");
  const note = h("div");
  const close = watched("all", "all", ({ times, curves: held }) => {
    missed.update(times, held);
    waits.update(times, { wait: ratios(held["1h.chat_wait_seconds"], held["1h.chats_answered"]) });
    cases.update(times, held);
    fill(note, sinceNote(times));
  });
  return {
    title: "Service",
    element: h("div", {}, h("div", { class: "columns" }, chats.element, tickets.element),
      h("div", { class: "columns three" }, missed.figure, waits.figure, cases.figure), note, channels.element),
    update() { chats.update(); tickets.update(); channels.update(); },
    close() { close(); missed.close(); waits.close(); cases.close(); },
  };
}

const delay = (watermark) => (watermark === null
  ? dash("no shard has had an event yet")
  : h("span", { title: "the clock, less the event time of the slowest shard" }, duration(Math.max(0, state.at - watermark) / 1000)));

const partitions = (numbers) => (numbers.length ? numbers.join(", ") : dash("none is assigned to it"));

export function pipelinePage() {
  const strip = figures([
    { label: "Events a second", show: () => number(state.pipeline.speed) },
    { label: "Lag", title: "records that wait unread", show: () => number(state.pipeline.lag) },
    { label: "Watermark delay", show: () => delay(state.pipeline.watermark) },
    { label: "Dead letters", title: "since the workers' starts", show: () => number(Object.values(state.pipeline.dead_letters).reduce((a, b) => a + b, 0)) },
    { label: "Workers", show: () => number(state.pipeline.workers.length) },
  ]);
  const speed = curves("Events a second", [{ name: "speed", label: "events a second" }], number);
  const lag = curves("Lag", [{ name: "lag", label: "records unread" }], number);
  const topics = h("tbody");
  const letters = h("tbody");
  const workers = table("Workers", [
    { name: "name", label: "Worker", kind: "text", sort: ({ key }) => key, cell: ({ key }) => named(key) },
    { name: "events", label: "Events", kind: "number", sort: ({ events }) => events, cell: ({ events }) => number(events) },
    { name: "lag", label: "Lag", kind: "number", sort: ({ lag: held }) => held, cell: ({ lag: held }) => number(held) },
    { name: "batch", label: "Records a batch", kind: "number", sort: (worker) => worker.batch_size,
      cell: (worker) => (worker.batch_size === null ? dash("no batch yet") : number(worker.batch_size)) },
    { name: "flush", label: "Mean flush", kind: "number", sort: (worker) => worker.flush_seconds.shards ?? null,
      cell: (worker) => (worker.flush_seconds.shards === undefined ? dash("no flush yet") : duration(worker.flush_seconds.shards)) },
    { name: "shards", label: "Shards", kind: "text", cell: ({ shards }) => partitions(shards) },
    { name: "mergers", label: "Mergers", kind: "text", cell: ({ mergers }) => partitions(mergers) },
    { name: "errors", label: "Redis errors", kind: "number", sort: (worker) => worker.redis_errors, cell: (worker) => number(worker.redis_errors) },
    { name: "started", label: "Started", kind: "number", sort: (worker) => worker.started_at, cell: (worker) => time(Date.parse(worker.started_at)) },
    { name: "as_of", label: "Reported", kind: "number", sort: (worker) => worker.as_of, cell: (worker) => time(worker.as_of) },
  ], { sortedBy: "name", descending: false });
  const note = h("div");
  const close = watched("all", "all", ({ times, curves: held }) => {
    speed.update(times, held);
    lag.update(times, held);
    fill(note, sinceNote(times));
  });
  const pairs = (title, words, body) => h("section", { class: "card" }, h("h3", {}, title), h("table", { class: "windows" },
    h("thead", { class: "hidden" }, h("tr", {}, words.map((word) => h("th", { scope: "col" }, word)))), body));
  const row = ([name, count]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", { class: "number" }, number(count)));
  return {
    title: "Pipeline",
    element: h("div", {}, strip.element, h("div", { class: "columns" }, speed.figure, lag.figure,
      pairs("Events a second, by topic", ["Topic", "Events a second"], topics),
      pairs("Dead letters, by reason", ["Reason", "Records"], letters)), note,
      h("section", {}, h("h2", {}, "Workers"), workers.element)),
    update() {
      strip.update();
      fill(topics, Object.entries(state.pipeline.speeds).map(row));
      const reasons = Object.entries(state.pipeline.dead_letters).map(([name, count]) => [name.replaceAll("_", " "), count]);
      fill(letters, reasons.length ? reasons.map(row) : h("tr", {}, h("td", { class: "quiet" }, "none since the workers' starts")));
      workers.update(state.pipeline.workers.map((worker) => ({ ...worker, key: worker.name, stamp: JSON.stringify(worker) })),
        "No worker has reported within ten seconds: start one with stream-app worker.");
    },
    close() { close(); speed.close(); lag.close(); },
  };
}

const MAIL = ["deliveries", "bounces", "unique_opens", "unique_clicks", "optouts", "complaints", "open_rate", "ctr", "ctor", "ctr_adjusted",
  "optout_rate", "complaint_rate", "bounce_rate", "disengagement_rate", "machine_opens", "machine_clicks", "lost_before"];
const CARTS = ["carts_started", "carts_purchased", "carts_abandoned", "carts_recovered", "abandonment_rate", "recovery_rate", "purchased_value",
  "abandoned_value"];
const CUSTOMERS = ["reached", "disengaged", ...STAGES.flatMap((stage) => [`stage_${stage}`, `became_${stage}`])];
const SERVICE = ["chats_started", "chats_answered", "chats_missed", "missed_chat_rate", "mean_chat_wait", "tickets_opened", "tickets_resolved",
  "reopen_rate", "first_contact_rate", "mean_reply_time", "mean_resolution_time", "csat"];
const ALL_WINDOWS = ["1m", "5m", "1h", "24h", "total"];

// A campaign's, a segment's or a channel's own page: its numbers in every window, and of a campaign its curves and segments.
export function keyPage(dimension, key) {
  let held = null;
  const isCampaign = dimension === "campaign";
  const asOf = h("p", { class: "quiet" });
  const parts = [["Mail", MAIL], ["Carts", CARTS], ["Service", SERVICE], ["Customers", CUSTOMERS]];
  const tables = h("div", { class: "columns" });
  let drawn = null;
  const series = WINDOWS.map((window) => ({ name: window, label: windowLabel(window) }));
  const drawings = isCampaign
    ? [["Click rate by window", "unique_clicks"], ["Open rate by window", "unique_opens"], ["Opt-out rate by window", "optouts"]]
        .map(([title, top]) => ({ top, chart: curves(title, series, (value) => `${number(100 * value)} %`) }))
    : [];
  const activity = isCampaign ? curves("Within an hour", [{ name: "1h.deliveries", label: "delivered" },
    { name: "1h.unique_opens", label: "opened" }, { name: "1h.unique_clicks", label: "clicked" }], number) : null;
  const note = h("div");
  const segments = isCampaign ? campaignSegments(key) : null;

  function draw() {
    if (!drawn) {
      drawn = parts.map(([title, names]) => [title, names.filter((name) => name in held.windows.total)])
        .filter(([, names]) => names.length)
        .map(([title, names]) => byWindow(title, names, ALL_WINDOWS, (window) => held.windows[window]));
      tables.classList.toggle("packed", drawn.length > 1);
      tables.replaceChildren(...drawn.map(({ element }) => element));
    }
    drawn.forEach(({ update }) => update());
    fill(asOf, `${dimension}, windows up to `, time(held.as_of), held.watermark ? [" · counted for good up to ", time(held.watermark)] : "");
    for (const { top, chart } of drawings) {
      const rates = Object.fromEntries(WINDOWS.map((window) =>
        [window, proportions(held.curves[`${window}.${top}`], held.curves[`${window}.deliveries`])]));
      chart.update(held.times, rates);
    }
    activity?.update(held.times, held.curves);
    if (isCampaign) fill(note, sinceNote(held.times));
    segments?.update(held.windows);
  }

  const close = watched(dimension, key, (answer) => { held = answer; draw(); }, (problem) => {
    if (problem.message === "404") fill(asOf, `Nothing is held of this ${dimension}: it had no event within 24 hours, or there is none of this name.`);
  });
  return {
    title: key,
    element: h("div", {}, h("h1", {}, named(key)), asOf,
      h("div", { class: "columns" }, activity?.figure, drawings.map(({ chart }) => chart.figure)), note, segments?.element, tables),
    update() {},
    close() { close(); activity?.close(); drawings.forEach(({ chart }) => chart.close()); },
  };
}

export const overviewFigures = () => figures([
  { label: "Delivered", title: "in 24 hours", show: () => value(ofAll("24h"), "deliveries") },
  { label: "Open rate", title: "in 24 hours", show: () => value(ofAll("24h"), "open_rate") },
  { label: "CTR", title: "in 24 hours", show: () => value(ofAll("24h"), "ctr") },
  { label: "Opt-outs", title: "in 24 hours", show: () => value(ofAll("24h"), "optout_rate") },
  { label: "Carts abandoned", title: "in 24 hours", href: "#/carts", show: () => value(ofAll("24h"), "abandonment_rate") },
  { label: "Chats missed", title: "in 24 hours", href: "#/service", show: () => value(ofAll("24h"), "missed_chat_rate") },
  { label: "CSAT", title: "in 24 hours", href: "#/service", show: () => value(ofAll("24h"), "csat") },
  { label: "At risk now", title: "customers in a band of the churn score", href: "#/churn",
    show: () => number(Object.values(state.churn.bands).reduce((a, b) => a + b, 0)) },
  { label: "Events a second", title: "now", href: "#/pipeline", show: () => number(state.pipeline.speed) },
]);
