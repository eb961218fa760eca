// Health: what could not be accepted, and how the pipeline is.
import { clock, colour, decimal, make, percent, say, t, whole } from "/page.js";
import { Panel, axis } from "/panel.js";
import { TOOLTIP } from "/today.js";
import { get } from "/api.js";

const KEPT_S = 120;
/** Rows come to the store in steps of seconds: a rate is the mean over this span. */
const MEAN_MS = 10000;
const STALE_MS = 120000;

export class Quality {
  constructor() {
    this.panel = new Panel("quality", { chart: false });
    this.list = make("ol", { class: "list", id: "quality" });
    this.heading = make("h3", { class: "sub", "data-t": "against_plan", hidden: true });
    this.broken = make("ol", { class: "list", id: "violations" });
    this.late = make("p", { class: "note", id: "late" });
    this.panel.body.append(this.list, this.heading, this.broken, this.late);
    this.panel.paint = (data) => this.paint(data);
  }

  async load({ nameOf }) {
    const [refusals, tracking] = await Promise.all([get("rejected", { hours: 24 }), get("tracking", { hours: 24 })]);
    return { ...refusals, ...tracking, nameOf };
  }

  paint({ accepted, rejected, violations, delays, nameOf }) {
    const refused = rejected.reduce((sum, one) => sum + one.count, 0);
    const total = refused + accepted;
    const said = refused ? t("quality_note", { n: whole(refused), total: whole(total), share: share(refused / total) }) : t("all_good");
    this.panel.say(`${said} · ${t("of_all_apps")}`);
    fill(this.list, rejected, ({ reason, app, stage }) => [t(reason), [app && nameOf(app), stage].filter(Boolean).join(" · ")]);
    this.heading.hidden = !violations.length;
    const listed = lump(violations);
    fill(this.broken, listed, (one) => [
      violated(one),
      [nameOf(one.app), one.names ? t("names", { n: whole(one.names) }) : share(one.count / one.total)].join(" · "),
    ]);
    const came = delays.reduce((sum, one) => sum + one.events, 0);
    const late = delays.reduce((sum, one) => sum + one.over_an_hour, 0);
    say(this.late, came ? t("late", { share: share(late / came) }) : "");
    this.panel.tabulate([t("reason"), t("app"), t("count")], [
      ...rejected.map(({ reason, app, count }) => [`${t(reason)} (${reason})`, app ? nameOf(app) : "–", whole(count)]),
      ...violations.map((one) => [violated(one), nameOf(one.app), whole(one.count)]),
    ]);
  }
}

/** What is broken, in words: the event and its version, and what is wrong with it. */
function violated({ event, version, rule, property }) {
  return [[event, version].filter(Boolean).join(" "), [property, t(`rule:${rule}`)].filter(Boolean).join(" ")].filter(Boolean).join(": ");
}

/** Names that the plan does not know are any number, often of one mistake: together they are one line of each app. */
export function lump(violations) {
  const lumps = new Map();
  const kept = [];
  for (const one of violations) {
    if (one.rule !== "unknown_event") {
      kept.push(one);
      continue;
    }
    const all = lumps.get(one.app) ?? { ...one, event: "", version: "", count: 0, seen: new Set() };
    lumps.set(one.app, { ...all, count: all.count + one.count, seen: all.seen.add(one.event) });
  }
  const together = [...lumps.values()].map(({ seen, ...one }) => ({ ...one, names: seen.size, ...(seen.size === 1 && { event: [...seen][0] }) }));
  return [...kept, ...together].sort((a, b) => b.count - a.count);
}

/** A share that is often tiny: what is above nothing is never shown as nothing. */
const share = (value) => (value > 0 && value < 0.0001 ? `< ${percent(0.0001, 2)}` : percent(value, 2));

/** The first of counted rows as a list with bars; `words(row)` gives its name and what is said of it in small. */
function fill(list, rows, words) {
  const most = rows[0]?.count ?? 1;
  list.replaceChildren(
    ...rows.slice(0, 8).map((row) => {
      const bar = make("i");
      bar.style.width = `${(row.count / most) * 100}%`;
      const [name, small] = words(row);
      return make("li", {}, make("span", { class: "name", title: name }, name, " ", make("small", {}, small)), make("b", {}, whole(row.count)), make("span", { class: "track", "aria-hidden": "true" }, bar));
    }),
  );
}

const sum = (counts) => Object.values(counts).reduce((all, one) => all + one, 0);

export class Pipeline {
  constructor() {
    this.panel = new Panel("pipeline", { size: "small" });
    this.facts = make("dl", { class: "facts", id: "facts" });
    this.panel.section.insertBefore(this.facts, this.panel.section.querySelector("details"));
    this.seen = [];
    this.rates = [];
    this.panel.paint = (data) => this.paint(data);
  }

  /** A live message's `pipeline`. */
  take(now, { nameOf, zone }) {
    const stored = sum(now.events);
    const last = this.seen.at(-1);
    if (last && stored < last.stored) this.seen = []; // counted anew since a restart
    if (!last || now.at > last.at) {
      this.seen.push({ at: now.at, stored });
      while (this.seen.length > 2 && this.seen[1].at <= now.at - MEAN_MS) this.seen.shift();
      const [first] = this.seen;
      if (now.at - first.at >= MEAN_MS) this.rates.push([now.at, ((stored - first.stored) * 1000) / (now.at - first.at)]);
      this.rates.splice(0, this.rates.length - KEPT_S);
    }
    this.panel.draw({ ...now, nameOf, zone });
  }

  paint(now) {
    const rate = this.rates.at(-1)?.[1];
    const ago = (ms) => (ms ? t("ago", { s: span(now.at - ms) }) : "–");
    const waiting = Object.entries(now.waiting).map(([who, why]) => `${who}: ${why}`);
    const bad = waiting.length || sum(now.rows_refused) || sum(now.records_lost) || !now.caught_up;
    const facts = [
      [t("freshness"), now.freshness_ms == null ? "–" : ago(now.at - now.freshness_ms), now.freshness_ms > STALE_MS],
      [t("rate"), rate === undefined ? "–" : `${decimal(rate)}${t("per_second")}`],
      ...Object.entries(now.last_event).map(([app, at]) => [`${t("last_event")}, ${now.nameOf(app)}`, ago(at)]),
      ...Object.entries(now.lag).map(([topic, records]) => [`${t("lag")}, ${topic}`, `${whole(records)} ${t("records")}`]),
      [t("rows"), whole(sum(now.rows_inserted))],
      [t("failures"), whole(sum(now.inserts_failed))],
      [t("refused"), whole(sum(now.rows_refused)), sum(now.rows_refused) > 0],
      [t("skipped"), whole(sum(now.lines_skipped))],
      [t("lost_records"), whole(sum(now.records_lost)), sum(now.records_lost) > 0],
    ];
    const shown = now.caught_up ? (waiting.length ? `${t("waiting")}: ${waiting.join("; ")}` : bad ? "" : t("healthy")) : t("catching_up");
    this.panel.say([shown, t("of_all_apps")].filter(Boolean).join(" · "));
    this.panel.note.classList.toggle("good", !bad);
    this.panel.note.classList.toggle("bad", waiting.length > 0);
    if (this.facts.children.length !== facts.length * 2) this.facts.replaceChildren(...facts.flatMap(() => [make("dt"), make("dd")]));
    facts.forEach(([name, value, wrong], at) => {
      say(this.facts.children[at * 2], name);
      say(this.facts.children[at * 2 + 1], value);
      this.facts.children[at * 2 + 1].classList.toggle("bad", Boolean(wrong));
    });
    this.panel.show(
      this.rates.length > 1 && {
        animation: false,
        grid: { left: 4, right: 8, top: 24, bottom: 2, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
        title: { text: `${t("rate")}${t("per_second")}`, textStyle: { fontSize: 11, fontWeight: 400, color: colour("muted") }, left: 0, top: 0 },
        xAxis: axis({ type: "time", min: this.rates.at(-1)[0] - KEPT_S * 1000, show: false }),
        yAxis: axis({ type: "value", splitNumber: 2 }),
        tooltip: { ...TOOLTIP(), trigger: "axis", valueFormatter: (value) => decimal(value) },
        series: [{ type: "line", data: this.rates, symbol: "none", areaStyle: { opacity: 0.15 }, lineStyle: { width: 1.5 } }],
      },
    );
    this.panel.tabulate([t("second"), t("rate")], this.rates.slice(-30).reverse().map(([at, value]) => [clock(at, now.zone), decimal(value)]));
  }
}

function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return t("seconds", { n: seconds });
  const unit = seconds < 7200 ? ["minute", seconds / 60] : seconds < 172800 ? ["hour", seconds / 3600] : ["day", seconds / 86400];
  return new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit: unit[0], unitDisplay: "short", maximumFractionDigits: 0 }).format(unit[1]);
}
