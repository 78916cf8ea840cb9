// The table of campaigns: all of them, to date, searchable, sorted by any column.

import { h, linkTo, readable } from "./dom.js";
import { sparkline } from "./curves.js";
import { dash, metrics, number, percent, rate, time } from "./format.js";
import { state } from "./stream.js";
import { table } from "./table.js";

// The order of a row's fields is that of CampaignRow in stream_app/console/numbers.py.
const AS_OF = 0, DELIVERIES = 1, OPEN = 2, CTR = 3, CTOR = 4, OPTOUT = 5, LOW = 6, HIGH = 7, ADJUSTED = 8, MACHINES = 9;

const ratio = (name, label, place, metric, cell) => ({
  name,
  label,
  title: `${metrics[metric]?.meaning}: ${metrics[metric]?.formula?.replaceAll("_", " ")}, to date`,
  kind: "number",
  sort: ({ row }) => row[place],
  cell: cell ?? (({ row }) => rate(metric, [row[place]])),
});

function columns() {
  return [
    { name: "name", label: "Campaign", kind: "text", sort: ({ key }) => key, cell: ({ key }) => linkTo("campaign", key) },
    { name: "deliveries", label: "Delivered", title: metrics.deliveries?.meaning, kind: "number",
      sort: ({ row }) => row[DELIVERIES], cell: ({ row }) => number(row[DELIVERIES]) },
    ratio("open_rate", "Open rate", OPEN, "open_rate"),
    ratio("ctr", "CTR", CTR, "ctr"),
    ratio("ctor", "CTOR", CTOR, "ctor"),
    ratio("optout_rate", "Opt-outs", OPTOUT, "optout_rate",
      ({ row }) => rate("optout_rate", [row[OPTOUT], row[LOW], row[HIGH]], true)),
    ratio("ctr_adjusted", "Adjusted CTR", ADJUSTED, "ctr_adjusted"),
    { name: "machines", label: "Machines", title: "of all opens and clicks, those by machines; they are in no rate",
      kind: "number", sort: ({ row }) => row[MACHINES],
      cell: ({ row }) => (row[MACHINES] === null ? dash("no opens and no clicks yet") : percent(row[MACHINES], 0)) },
    { name: "spark", label: "Clicks, 1h", title: "customers who clicked within an hour, since this console started", kind: "spark",
      cell: ({ key, spark }) => sparkline(spark, `clicks of ${readable(key)}`) },
    { name: "as_of", label: "As of", kind: "number", title: "the newest event, rounded up to ten seconds",
      sort: ({ row }) => row[AS_OF], cell: ({ row }) => time(row[AS_OF]) },
  ];
}

export function campaignsPanel() {
  const items = new Map();
  const search = h("input", { type: "search", id: "search", placeholder: "Search campaigns", "aria-label": "Search campaigns",
                              autocomplete: "off", spellcheck: "false", oninput: () => draw() });
  const count = h("span", { class: "quiet", role: "status" });
  const campaigns = table("Campaigns, to date", columns(), { sortedBy: "deliveries" });

  function refresh(key) {
    const row = state.campaigns.get(key);
    if (!row) return items.delete(key);
    const item = { key, row, spark: state.sparks.get(key), stamp: null, searched: key.toLocaleLowerCase() };
    item.stamp = item;
    return items.set(key, item);
  }

  function draw() {
    const wanted = search.value.trim().toLocaleLowerCase();
    const found = [...items.values()].filter(({ searched }) => searched.includes(wanted));
    count.textContent = wanted ? `${number(found.length)} of ${number(items.size)}` : number(items.size);
    campaigns.update(found, wanted ? "No campaign has this in its name." : "No campaign has been seen yet.");
  }

  return {
    element: h("section", { class: "campaigns as-cards", "aria-label": "Campaigns" },
      h("div", { class: "heading" }, h("h2", {}, "Campaigns ", count), search), campaigns.element),
    update(change) {
      if (!change) {
        items.clear();
        for (const key of state.campaigns.keys()) refresh(key);
      } else {
        const touched = new Set([...Object.keys(change.campaigns ?? {}), ...Object.keys(change.sparks ?? {})]);
        if (!touched.size) return;
        touched.forEach(refresh);
      }
      draw();
    },
  };
}
