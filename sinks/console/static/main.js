// The console: what is looked at, and when each part is read again. Nothing needs a reload.
import { byId, clock, make, onLook, say, t, wireLook } from "/page.js";
import { get, listen } from "/api.js";
import { Events, Funnels, Hours, tiles } from "/today.js";
import { Heat, History } from "/past.js";
import { Overlap, Retention } from "/people.js";
import { Pipeline, Quality } from "/health.js";

const [{ project, apps }, catalogue] = await Promise.all([get("apps"), get("catalogue")]).catch((error) => {
  wireLook();
  say(byId("message"), `${t("failed")} ${error.message}`);
  byId("message").hidden = false;
  throw error;
});
const asked = new URLSearchParams(location.search);
const names = new Map(apps.map((one) => [one.id, one.name]));
const days = new Map(apps.map((one) => [one.id, { today: one.today, hour: one.hour }]));
const state = {
  app: names.has(asked.get("app")) ? asked.get("app") : apps[0].id,
  facet: asked.get("facet") ?? "",
  live: null,
};

const view = () => ({
  app: state.app,
  facet: state.facet,
  apps,
  today: days.get(state.app).today,
  hour: days.get(state.app).hour,
  zone: apps.find((one) => one.id === state.app).time_zone,
  nameOf: (app) => names.get(app) ?? app,
  todayOf: (app) => days.get(app)?.today ?? days.get(state.app).today,
});

const showTiles = tiles();
const hours = new Hours();
const funnels = new Funnels(catalogue.funnels, () => anew("funnel"));
const events = new Events();
const history_ = new History(catalogue, () => anew("history"));
const heat = new Heat();
const retention = new Retention();
const overlap = new Overlap();
const quality = new Quality();
const pipeline = new Pipeline();

/** name -> how often it is read (seconds), how, and who shows it. The past brings the hour curve's typical day along. */
const PARTS = {
  past: [600, (now) => hours.loadPast(now), heat.panel],
  hours: [3, (now) => hours.load(now), hours.panel],
  funnel: [3, (now) => funnels.load(now), funnels.panel],
  events: [5, (now) => events.load(now), events.panel],
  history: [60, (now) => history_.load(now), history_.panel],
  retention: [60, (now) => retention.load(now), retention.panel],
  overlap: [60, (now) => overlap.load(now), overlap.panel],
  quality: [30, (now) => quality.load(now), quality.panel],
};
const due = new Map();
const failing = new Map();
const reading = new Map();

async function read(name) {
  const [seconds, load, panel] = PARTS[name];
  due.set(name, Date.now() + seconds * 1000);
  const round = (reading.get(name) ?? 0) + 1;
  reading.set(name, round);
  try {
    const found = await load(view());
    if (reading.get(name) !== round) return; // something else was asked for meanwhile
    failing.delete(name);
    panel.draw(found);
    if (name === "past") {
      hours.past = found;
      await read("hours");
    }
  } catch (error) {
    console.info(`${name}: ${error.message}`);
    if (reading.get(name) !== round) return;
    failing.set(name, error.message);
    panel.fail(error.message);
  }
  complain();
}

/** Nothing that was asked before is the answer any more: neither what is shown nor what is still to come. */
function forget(name) {
  reading.set(name, (reading.get(name) ?? 0) + 1);
  failing.delete(name);
  PARTS[name][2].wait();
}

function anew(name) {
  forget(name);
  return read(name);
}

function complain() {
  const words = [...new Set(failing.values())].join("; ");
  say(byId("message"), words ? `${t("failed")} ${words}` : "");
  byId("message").hidden = !words;
}

async function readAll() {
  await Promise.all(Object.keys(PARTS).filter((name) => name !== "hours").map(read));
  document.body.dataset.ready = "yes";
}

function choices() {
  const app = byId("app");
  if (!app.options.length) {
    for (const one of apps) app.append(make("option", { value: one.id }));
  }
  for (const option of app.options) {
    const one = apps.find((known) => known.id === option.value);
    option.textContent = one.kind === "group" ? `${one.name} (${t("group")})` : one.name;
  }
  app.value = state.app;
  const known = apps.find((one) => one.id === state.app).facets;
  if (!known.some((one) => one.id === state.facet)) state.facet = "";
  byId("facet").replaceChildren(...known.map((one) => make("option", { value: one.id }, one.id ? one.title : t("any"))));
  byId("facet").value = state.facet;
}

function chosen() {
  state.app = byId("app").value;
  state.facet = byId("facet").value;
  choices();
  funnels.follow(apps.find((one) => one.id === state.app));
  const query = new URLSearchParams({ app: state.app, ...(state.facet && { facet: state.facet }) });
  history.replaceState(null, "", `?${query}`);
  showTiles(null);
  failing.delete("now");
  hours.past = null;
  Object.keys(PARTS).forEach(forget);
  showNow();
  readAll();
}

/** The tiles. The stream has any activity; of another facet they are asked for. */
async function showNow() {
  const { app, facet } = state;
  if (!state.live) return;
  let rows = state.live.now.rows;
  if (facet) {
    try {
      rows = (await get("now", { app, facet })).rows;
      if (failing.delete("now")) complain();
    } catch (error) {
      console.info(`now: ${error.message}`);
      if (app !== state.app || facet !== state.facet) return;
      failing.set("now", error.message);
      complain();
      rows = [];
    }
  }
  if (app === state.app && facet === state.facet) showTiles(rows.find((row) => row.app === app && row.facet === facet) ?? null);
}

function take(live) {
  state.live = live;
  for (const row of live.now.rows) {
    const before = days.get(row.app);
    days.set(row.app, { today: row.today, hour: row.hour });
    if (row.app === state.app && before.today !== row.today && document.body.dataset.ready) readAll(); // midnight
  }
  pipeline.take(live.pipeline, view());
  say(byId("clock"), `${t("updated")} ${clock(live.now.at, view().zone)} (${view().zone}) ·`);
  show(live.now.caught_up ? "live" : "catching_up");
  showNow();
  if (document.hidden || !document.body.dataset.ready) return;
  for (const name of Object.keys(PARTS)) if (Date.now() >= (due.get(name) ?? 0)) read(name);
}

function show(connection) {
  const status = byId("status");
  status.dataset.state = connection;
  say(status, t(connection));
}

say(byId("project"), project);
byId("app").addEventListener("change", chosen);
byId("facet").addEventListener("change", chosen);
byId("controls").addEventListener("submit", (event) => event.preventDefault());
show("connecting");
choices();
funnels.follow(apps.find((one) => one.id === state.app));
onLook(() => {
  choices();
  history_.name();
  show(byId("status").dataset.state);
  document.title = `Footfall · ${project}`;
});
wireLook();
readAll();
listen(take, () => show("lost"));
