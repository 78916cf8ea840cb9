// A table that sorts by its headings and changes in place: a row that stays keeps its element, its focus and its selection.

import { fill, h } from "./dom.js";

const collator = new Intl.Collator(undefined, { numeric: true });

// Columns: {name, label, title, kind, sort(row), cell(row)}. Rows are anything with a `key`; so many are shown at once.
export function table(caption, columns, { sortedBy, descending = true, atOnce = 50 }) {
  let sort = { by: sortedBy, descending };
  let rows = [];
  let most = atOnce;
  const held = new Map();
  const body = h("tbody");
  const headings = columns.map((column) =>
    h("th", { scope: "col", class: column.kind, title: column.title },
      column.sort ? h("button", { type: "button", onclick: () => sortBy(column) }, column.label) : column.label));
  const more = h("button", { type: "button", class: "more", hidden: true, onclick: () => { most += atOnce; draw(); } });
  const empty = h("p", { class: "quiet none" });
  const element = h("div", { class: "table" },
    h("table", {}, h("caption", { class: "hidden" }, caption), h("thead", {}, h("tr", {}, headings)), body), empty, more);

  function sortBy(column) {
    const again = sort.by === column.name;
    sort = { by: column.name, descending: again ? !sort.descending : column.kind === "number" };
    draw();
  }

  function compare(column) {
    const sign = sort.descending ? -1 : 1;
    return (a, b) => {
      const [x, y] = [column.sort(a), column.sort(b)];
      if (x === null || y === null) return (x === null) - (y === null); // what is not known comes last, either way
      const order = typeof x === "string" ? collator.compare(x, y) : x - y;
      return sign * order || collator.compare(a.key, b.key);
    };
  }

  function draw() {
    const column = columns.find(({ name }) => name === sort.by);
    headings.forEach((heading, place) => {
      const state = columns[place] === column ? (sort.descending ? "descending" : "ascending") : "none";
      if (columns[place].sort) heading.setAttribute("aria-sort", state);
    });
    const shown = rows.toSorted(compare(column)).slice(0, most);
    const keys = new Set(shown.map(({ key }) => key));
    for (const [key, { row }] of held) if (!keys.has(key)) { row.remove(); held.delete(key); }
    let next = body.firstElementChild;
    for (const item of shown) {
      const row = rowOf(item);
      if (row === next) next = next.nextElementSibling;
      else body.insertBefore(row, next);
    }
    more.hidden = rows.length <= most;
    more.textContent = `Show more (${rows.length - shown.length} left)`;
  }

  function rowOf(item) {
    const known = held.get(item.key);
    if (known && known.item === item.stamp) return known.row;
    const row = known?.row ?? h("tr", {}, columns.map((column, place) =>
      h(place ? "td" : "th", { class: column.kind, scope: place ? null : "row", "data-label": column.label })));
    columns.forEach((column, place) => fill(row.children[place], column.cell(item)));
    held.set(item.key, { row, item: item.stamp });
    return row;
  }

  return {
    element,
    update(newRows, whyEmpty) {
      rows = newRows;
      fill(empty, rows.length ? "" : whyEmpty);
      empty.hidden = rows.length > 0;
      draw();
    },
  };
}
