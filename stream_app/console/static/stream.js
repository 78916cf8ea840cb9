// The state of everything shown, kept up to date by the stream of changes; and whether it is still true.

const OLD_AFTER_MS = 5000;
const WORKERS_SILENT_MS = 12000;

export const state = {
  campaigns: new Map(),
  sparks: new Map(),
  keys: new Map(),
  alerts: [],
  firing: {},
  resolved: [],
  churn: { bands: {}, segments: {}, worst: [] },
  pipeline: { workers: [], speeds: {}, speed: 0, lag: 0, watermark: null, dead_letters: {}, churn_held_back: null },
  since: null,
  at: 0,
  problem: "",
};

let heardAt = 0;
let source = null;
const listeners = new Set();

export function onChange(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function takeMap(map, entries) {
  for (const [key, value] of Object.entries(entries ?? {})) {
    if (value === null) map.delete(key);
    else map.set(key, value);
  }
}

function take(change) {
  takeMap(state.campaigns, change.campaigns);
  takeMap(state.sparks, change.sparks);
  takeMap(state.keys, change.keys);
  for (const [key, row] of Object.entries(change.campaigns ?? {})) if (row === null) state.sparks.delete(key);
  for (const part of ["alerts", "firing", "resolved", "churn", "pipeline", "at", "problem", "since"]) {
    if (part in change) state[part] = change[part];
  }
  heardAt = Date.now();
  for (const listener of listeners) listener(change);
}

export async function ask(path) {
  const response = await fetch(path, { headers: { Accept: "application/json" } });
  if (response.status === 401) {
    location.assign("/login");
    throw new Error("log in first");
  }
  if (!response.ok) throw new Error(`${response.status}`);
  return response.json();
}

// Asks now, and again and again until the function that is returned is called.
export function askAgain(path, everyMs, onAnswer, onProblem = () => {}) {
  let timer = null;
  let isClosed = false;
  async function again() {
    try {
      const held = await ask(path);
      if (!isClosed) onAnswer(held);
    } catch (problem) {
      if (!isClosed) onProblem(problem);
    }
    if (!isClosed) timer = setTimeout(again, everyMs);
  }
  again();
  return () => { isClosed = true; clearTimeout(timer); };
}

// Fetch everything, then follow the changes from there. The browser reconnects by itself and says which change it had
// last; where the server no longer knows that one, or is another by now, everything is fetched anew.
export async function follow() {
  source?.close();
  try {
    const whole = await ask("/api/world");
    for (const map of [state.campaigns, state.sparks, state.keys]) map.clear();
    take(whole);
    source?.close(); // where two came to here at once
    source = new EventSource(`/events?after=${encodeURIComponent(whole.id)}`);
    source.addEventListener("change", (event) => take(JSON.parse(event.data)));
    source.addEventListener("anew", follow);
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) setTimeout(follow, 1000);
    });
  } catch {
    setTimeout(follow, 1000);
  }
}

// A page that is left lets its connection go at once, as a browser has but six for all pages of a server; one that is come
// back to without being loaded again begins anew.
addEventListener("pagehide", () => source?.close());
addEventListener("pageshow", (event) => { if (event.persisted) follow(); });

// Why what is shown may be old; empty if it is live. The moment is that of the newest look at Redis.
export function whyOld() {
  if (!heardAt) return "connecting";
  if (Date.now() - heardAt > OLD_AFTER_MS) return "No connection to the console: reconnecting";
  if (state.problem) return state.problem;
  const newest = Math.max(0, ...state.pipeline.workers.map((worker) => worker.as_of));
  if (!newest) return "No worker reports: nothing is being counted";
  if (state.at - newest > WORKERS_SILENT_MS) return "The workers have fallen silent";
  return "";
}
