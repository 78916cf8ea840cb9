// Who may leave: customers by stage and by band of the churn score, both by segment, and those at the greatest risk and why.

import { fill, h, linkTo, named, readable } from "./dom.js";
import { dash, metrics, number, percent, time } from "./format.js";
import { figures, groupColumn, metricColumn, ofAll, STAGES, value } from "./parts.js";
import { askAgain, state } from "./stream.js";
import { table } from "./table.js";

const WORST_EVERY_MS = 2000;

const spoken = (name) => name.replaceAll("_", " ");
const title = (name) => spoken(name).charAt(0).toUpperCase() + spoken(name).slice(1);
const figure = (words, shown, why) => h("div", { class: "figure", title: why }, h("dt", {}, words), h("dd", {}, shown));

// How many customers are in a stage now, and how many came to it within the last day.
function inStage(stage, now, lastDay, period = "") {
  const moves = lastDay?.[`became_${stage}`];
  return h("span", {}, value(now, `stage_${stage}`),
    moves === undefined ? null : h("small", { title: `became ${stage} within 24 hours` }, ` +${number(moves)}${period}`));
}

const stagesStrip = () => figures(STAGES.map((stage) => ({
  label: title(stage),
  title: metrics[`stage_${stage}`]?.meaning,
  show: () => inStage(stage, ofAll("total"), ofAll("24h"), " in 24 h"),
})));

const bandNames = () => Object.keys(state.churn.bands);

// The rules name the bands, from mild to severe: the last two have a colour.
function bandSeverity(band) {
  const names = bandNames();
  return ["critical", "warning"][names.length - 1 - names.indexOf(band)] ?? "";
}

function bandsStrip() {
  const element = h("dl", { class: "figures", id: "bands" });
  const heldBack = () => (state.pipeline.churn_held_back === null
    ? dash("no worker has told how many it held back")
    : number(state.pipeline.churn_held_back));
  return {
    element,
    update() {
      const bands = Object.entries(state.churn.bands).map(([band, count]) => figure(title(band), number(count)));
      fill(element, bands.length
        ? [...bands, figure("Alerts held back", heldBack(), "churn alerts that wait for the next hours, as most_per_hour of the rules lets no more begin")]
        : h("p", { class: "quiet none" }, "The rules have no churn rule."));
    },
  };
}

// The customers at the greatest risk: of all, or of the segment that is chosen.
function worstTable() {
  const held = table("Customers at greatest risk", [
    { name: "customer", label: "Customer", kind: "text", sort: ({ key }) => key, cell: ({ key }) => named(key) },
    { name: "score", label: "Score", kind: "number", sort: ({ score }) => score, cell: ({ score }) => percent(score) },
    { name: "band", label: "Band", kind: "text", sort: ({ band }) => band,
      cell: ({ band }) => (band ? h("span", { class: `band ${bandSeverity(band)}` }, spoken(band)) : dash("below the lowest band by now")) },
    { name: "segment", label: "Segment", kind: "text", sort: ({ segment }) => segment,
      cell: ({ segment }) => (segment ? linkTo("segment", segment) : dash("no event of theirs has named a segment")) },
    { name: "stage", label: "Stage", kind: "text", sort: ({ stage }) => stage,
      cell: ({ stage }) => (stage ? spoken(stage) : dash("the customer is at no stage yet")) },
    { name: "last_seen", label: "Last seen", kind: "number", sort: ({ last_seen: at }) => at, cell: ({ last_seen: at }) => time(at) },
    { name: "reasons", label: "Why", kind: "text wide", cell: ({ reasons }) => (reasons.length ? h("bdi", {}, readable(reasons.join("; "))) : dash("no reason is known")) },
  ], { sortedBy: "score", atOnce: 20 });
  const choice = h("select", { id: "at-risk-segment", "aria-label": "Segment of the customers at risk", onchange: () => choose(choice.value) });
  let chosen = "";
  let worst = null;
  let close = () => {};

  function choose(segment) {
    close();
    [chosen, worst, close] = [segment, null, () => {}];
    if (segment)
      close = askAgain(`/api/at-risk?segment=${encodeURIComponent(segment)}`, WORST_EVERY_MS, (answer) => { worst = answer; draw(); });
    draw();
  }

  function draw() {
    const shown = chosen ? worst : state.churn.worst;
    held.update((shown ?? []).map((one) => ({ key: one.customer, ...one, stamp: JSON.stringify(one) })),
      shown ? `No customer${chosen ? " of this segment" : ""} is at risk.` : "Loading…");
  }

  function offer() {
    const names = [...new Set([...Object.keys(state.churn.segments), chosen])].filter((name) => name).sort();
    fill(choice, h("option", { value: "" }, "All segments"), names.map((name) => h("option", { value: name }, readable(name))));
    choice.value = chosen;
  }

  return {
    element: h("section", { class: "as-cards", id: "worst" },
      h("div", { class: "heading" }, h("h2", {}, "At greatest risk"), choice), held.element),
    update() { offer(); draw(); },
    close: () => close(),
  };
}

// Segments down; the stages and the bands of their customers across.
function segmentsTable() {
  const heading = h("h2", {}, "By segment ", h("span", { class: "quiet" }, "now, and who came in 24 h"));
  const element = h("section", { id: "segments" });
  let held = null;
  let drawnBands = null;

  const stageColumn = (stage) => ({
    ...metricColumn(`stage_${stage}`, title(stage)),
    cell: ({ numbers, lastDay }) => inStage(stage, numbers, lastDay),
  });

  const bandColumn = (band) => ({
    name: `band ${band}`, label: title(band), title: "customers in this band of the churn score now", kind: "number",
    sort: ({ bands }) => bands?.[band] ?? null,
    cell: ({ bands }) => (bands ? number(bands[band]) : dash("not counted yet")),
  });

  // The rules can change with the console that one comes back to, and with them the bands.
  function build() {
    drawnBands = JSON.stringify(bandNames());
    held = table("Segments", [groupColumn("segment", "Segment"), ...STAGES.map(stageColumn), ...bandNames().map(bandColumn),
      metricColumn("disengagement_rate")], { sortedBy: "key", descending: false });
    element.replaceChildren(heading, held.element);
  }

  function rows() {
    return [...state.keys].filter(([key]) => key.startsWith("segment:")).map(([key, view]) => {
      const name = key.slice("segment:".length);
      const row = { numbers: view.windows.total, lastDay: view.windows["24h"], bands: state.churn.segments[name] };
      return { key: name, ...row, stamp: JSON.stringify(row) };
    });
  }

  return {
    element,
    update() {
      if (drawnBands !== JSON.stringify(bandNames())) build();
      held.update(rows(), "No event has named a segment yet.");
    },
  };
}

export function churnPage() {
  const [stages, bands, segments, worst] = [stagesStrip(), bandsStrip(), segmentsTable(), worstTable()];
  return {
    title: "Churn",
    element: h("div", {},
      h("section", { id: "stages" }, h("h2", {}, "Customers by stage"), stages.element),
      h("section", {}, h("h2", {}, "Customers at risk, by band"), bands.element),
      segments.element, worst.element),
    update() { [stages, bands, segments, worst].forEach((part) => part.update()); },
    close: () => worst.close(),
  };
}
