// A campaign by segment: the table on its own page, in a window that can be chosen.

import { fill, h, linkTo } from "./dom.js";
import { number, percent } from "./format.js";
import { metricColumn, value, windowChoice } from "./parts.js";
import { ask } from "./stream.js";
import { table } from "./table.js";

const WORTH_A_NOTE = 0.01; // less can be what the campaign's own numbers are newer by

const COLUMNS = [
  { name: "key", label: "Segment", kind: "text", sort: ({ key }) => key, cell: ({ key }) => linkTo("segment", key) },
  ["deliveries", "Delivered"], ["open_rate", "Open rate"], ["ctr", "CTR"], ["ctor", "CTOR"],
];

const NOT_COUNTED = "There are no numbers of campaigns by segment. Workers that run with STREAM_APP_CAMPAIGN_SEGMENTS=true "
  + "count them, from then on, for events that name both.";
const NONE = "No event of this campaign has named a segment in the last 24 hours.";

export function campaignSegments(campaign) {
  let window = "total";
  let answer = null;
  let whole = null;
  const optouts = { ...metricColumn("optout_rate", "Opt-outs"), cell: ({ numbers }) => value(numbers, "optout_rate", true) };
  const columns = [...COLUMNS.map((column) => (Array.isArray(column) ? metricColumn(...column) : column)), optouts];
  const held = table("Segments of this campaign", columns, { sortedBy: "deliveries" });
  const note = h("p", { class: "quiet" });

  function draw() {
    if (!answer) return;
    const rows = Object.entries(answer.segments).map(([key, windows]) =>
      ({ key, numbers: windows[window], stamp: `${window} ${JSON.stringify(windows[window])}` }));
    held.update(rows, answer.is_counted ? NONE : NOT_COUNTED);
    fill(note, rows.length ? remarks(rows) : "");
    note.hidden = !note.textContent;
  }

  // The windows of two keys end at different moments, so that only what is counted to date can be held against the whole.
  function remarks(rows) {
    const said = [];
    const { deliveries } = whole.total;
    const elsewhere = deliveries - rows.reduce((sum, { numbers }) => sum + numbers.deliveries, 0);
    if (window === "total" && elsewhere > WORTH_A_NOTE * deliveries)
      said.push(`${percent(elsewhere / deliveries)} of the deliveries are in no segment here: they named none, or came before campaigns were counted by segment. `);
    if (answer.left_out)
      said.push(`${number(answer.left_out)} segments that have not changed for longest were not looked at.`);
    return said;
  }

  return {
    element: h("section", { id: "campaign-segments" }, h("div", { class: "heading" }, h("h2", {}, "Segments"),
      windowChoice((name) => { window = name; draw(); }, window)), held.element, note),
    // Asks anew; `windows` are the campaign's own.
    async update(windows) {
      whole = windows;
      try {
        answer = await ask(`/api/segments?campaign=${encodeURIComponent(campaign)}`);
      } catch {
        return; // the page says what cannot be read, and the numbers of before stay
      }
      draw();
    },
  };
}
