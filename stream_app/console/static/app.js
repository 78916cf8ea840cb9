// Starts the page: fetches the catalogue, follows the changes, shows the page that the address names, and says how old it is.

import { alertsInTitle, alertsPanel, campaignAndSegment } from "./alerts.js";
import { campaignsPanel } from "./campaigns.js";
import { churnPage } from "./churn.js";
import { repaintAll } from "./curves.js";
import { fill, h, readable } from "./dom.js";
import { clockTime, metrics, utc } from "./format.js";
import { cartsPage, keyPage, overviewFigures, pipelinePage, segmentsPage, servicePage } from "./pages.js";
import { ask, follow, onChange, state, whyOld } from "./stream.js";

const PAGES = [
  ["", "Overview", overviewPage],
  ["segments", "Segments", segmentsPage],
  ["carts", "Carts", cartsPage],
  ["service", "Service", servicePage],
  ["churn", "Churn", churnPage],
  ["pipeline", "Pipeline", pipelinePage],
];
const KEYED = new Set(["campaign", "segment", "channel", "campaign_segment"]);
const THEMES = { auto: "Theme: system", dark: "Theme: dark", light: "Theme: light" };

const view = document.getElementById("view");
const status = document.getElementById("status");
const old = document.getElementById("old");
let page = null;

function overviewPage() {
  const [alerts, strip, campaigns] = [alertsPanel(), overviewFigures(), campaignsPanel()];
  return {
    title: "Overview",
    element: h("div", {}, alerts.element, h("section", {}, h("h2", {}, "The last 24 hours"), strip.element), campaigns.element),
    update(change) { alerts.update(); strip.update(); campaigns.update(change); },
  };
}

function pageOf(address) {
  const [name, key] = address.replace(/^#\/?/, "").split("/");
  if (KEYED.has(name) && key !== undefined) {
    try {
      const whole = decodeURIComponent(key);
      if (name !== "campaign_segment") return [name, () => keyPage(name, whole)];
      const pair = campaignAndSegment(whole); // as an alert's link names it; the campaign's page has the segments
      return pair ? ["campaign", () => keyPage("campaign", pair[0])] : ["", overviewPage];
    } catch {
      return ["", overviewPage];
    }
  }
  const known = PAGES.find(([path]) => path === name) ?? PAGES[0];
  return [known[0], known[2]];
}

function show() {
  const [name, make] = pageOf(location.hash);
  page?.close?.();
  page = make();
  view.replaceChildren(page.element);
  page.update(null);
  window.scrollTo(0, 0);
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.page === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  entitle();
}

function entitle() {
  document.title = `${alertsInTitle()}${readable(page?.title ?? "")} · Engagement console`;
}

function sayHowOld() {
  const why = whyOld();
  document.body.classList.toggle("is-old", why !== "");
  old.hidden = why === "" || why === "connecting";
  if (why === "connecting") return fill(status, "Connecting…");
  if (!why) return fill(status, h("span", { class: "dot" }), h("span", { title: utc(state.at) }, `live ${clockTime(state.at)}`));
  fill(status, h("span", { title: utc(state.at) }, `as of ${clockTime(state.at)}`));
  return fill(old, `${why}. What is shown is as of ${clockTime(state.at)}.`);
}

function themeSwitch() {
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const draw = () => { button.textContent = THEMES[root.dataset.theme ?? "auto"]; };
  button.addEventListener("click", () => {
    const names = Object.keys(THEMES);
    const next = names[(names.indexOf(root.dataset.theme ?? "auto") + 1) % names.length];
    if (next === "auto") delete root.dataset.theme;
    else root.dataset.theme = next;
    try {
      localStorage.setItem("theme", next);
    } catch {
      // Storage is forbidden here: the choice holds until the page is left.
    }
    draw();
    repaintAll();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaintAll);
  draw();
}

async function start() {
  document.querySelector("nav").append(...PAGES.map(([path, title]) => h("a", { href: `#/${path}`, "data-page": path }, title)));
  themeSwitch();
  setInterval(sayHowOld, 1000);
  const about = await ask("/api/about");
  Object.assign(metrics, about.metrics);
  document.getElementById("logout").hidden = !about.login;
  await follow();
  show();
  addEventListener("hashchange", () => { show(); view.focus({ preventScroll: true }); });
  onChange((change) => {
    page.update(change.id ? null : change);
    entitle();
    sayHowOld();
  });
  sayHowOld();
}

start().catch(() => { setTimeout(() => location.reload(), 2000); });
