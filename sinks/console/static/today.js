// Today: tiles, the hour curve against the typical one, the funnel, and events as they come.
import { byId, clock, colour, decimal, hourName, make, percent, say, shift, t, weekday, whole } from "/page.js";
import { Panel, axis, legend } from "/panel.js";
import { get, metrics } from "/api.js";

const HOURS = [...Array(24).keys()];
const HISTORY_DAYS = 56;

const TILES = [
  ["active_5m", (row) => whole(row.active_5m)],
  ["active_30m", (row) => whole(row.active_30m)],
  ["active_hour", (row) => whole(row.active_hour)],
  ["active_day", (row) => whole(row.active_day)],
  ["active_month", (row) => whole(row.active_month)],
  ["stickiness", (row) => percent(row.active_30d ? row.active_day / row.active_30d : null)],
  ["launches_per_user", (row) => (row.launches == null ? "–" : decimal(row.launches / row.active_day))],
  ["minutes_per_user", (row) => (row.usage_seconds == null ? "–" : decimal(row.usage_seconds / 60 / row.active_day))],
  ["peak", (row) => (row.peak_hour == null ? "–" : hourName(row.peak_hour)), (row) => (row.peak_hour == null ? "" : `${whole(row.peak_hour_users)} ${t("users")}`)],
];

export function tiles() {
  const values = new Map();
  for (const [name] of TILES) {
    const value = make("dd", { "data-number": name }, "–");
    values.set(name, value);
    byId("tiles").append(make("div", {}, make("dt", { "data-t": name }), value));
  }
  /** Shows a row of /now; null where there is none. */
  return (row) => {
    for (const [name, text, more] of TILES) {
      const value = values.get(name);
      const shown = row ? text(row) : "–";
      const small = row && more ? more(row) : "";
      if (value.dataset.shown === shown + small) continue;
      value.dataset.shown = shown + small;
      value.replaceChildren(shown, ...(small ? [" ", make("small", {}, small)] : []));
    }
  };
}

export const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

/** rows of metric active_users, window hour -> day -> 24 values. An hour that comes twice (clocks go back) keeps the greater. */
export function byDay(rows) {
  const days = new Map();
  for (const row of rows) {
    if (!days.has(row.day)) days.set(row.day, Array(24).fill(0));
    const hours = days.get(row.day);
    hours[row.hour] = Math.max(hours[row.hour], row.value);
  }
  return days;
}

/** The median of each hour over the same weekdays, or over all days where there are fewer than three of those. */
export function typical(days, today) {
  const past = [...days].filter(([day]) => day < today);
  const same = past.filter(([day]) => weekday(day) === weekday(today));
  const used = same.length >= 3 ? same : past;
  return {
    values: used.length ? HOURS.map((hour) => median(used.map(([, hours]) => hours[hour]))) : null,
    count: used.length,
    weekday: used === same,
  };
}

export class Hours {
  constructor() {
    this.panel = new Panel("hours");
    this.panel.paint = (data) => this.paint(data);
    /** Day -> 24 values of the days before, as `loadPast` gave them; null while they are not known. */
    this.past = null;
  }

  async loadPast({ app, facet, today }) {
    const rows = await metrics({ metric: "active_users", window: "hour", app, facet, from: shift(today, -HISTORY_DAYS), to: shift(today, -1) });
    return byDay(rows);
  }

  async load({ app, facet, today, hour }) {
    const rows = await metrics({ metric: "active_users", window: "hour", app, facet, from: today, to: today });
    const now = byDay(rows).get(today) ?? Array(24).fill(0);
    return { now, hour, known: this.past !== null, usual: typical(this.past ?? [], today), any: rows.length > 0 || this.past?.size > 0 };
  }

  paint({ now, hour, known, usual, any }) {
    const so_far = HOURS.map((one) => (one <= hour ? now[one] : null));
    this.panel.say(usual.values ? t(usual.weekday ? "typical_weekday" : "typical_any", { n: usual.count }) : t(known ? "typical_none" : "typical_unread"));
    this.panel.show(
      any && {
        legend: legend(),
        xAxis: axis({ type: "category", data: HOURS.map(hourName), boundaryGap: false }),
        yAxis: axis({ type: "value", minInterval: 1 }),
        tooltip: { ...TOOLTIP(), trigger: "axis" },
        series: [
          { name: t("typical"), type: "line", data: usual.values ?? [], symbol: "none", smooth: 0.2, color: colour("c2"), lineStyle: { type: "dashed", width: 2 } },
          { name: t("today"), type: "line", data: so_far, symbolSize: 5, smooth: 0.2, color: colour("c1"), lineStyle: { width: 3 }, areaStyle: { opacity: 0.14 } },
        ],
      },
    );
    this.panel.tabulate(
      [t("hour"), t("today"), t("typical")],
      HOURS.map((one) => [hourName(one), whole(so_far[one]), usual.values ? whole(usual.values[one]) : "–"]),
    );
  }
}

export const TOOLTIP = () => ({ renderMode: "richText", confine: true, backgroundColor: colour("card"), borderColor: colour("line"), textStyle: { color: colour("text"), fontSize: 12 } });

export class Funnels {
  constructor(funnels, changed) {
    this.funnels = funnels;
    this.panel = new Panel("funnel");
    this.panel.paint = (data) => this.paint(data);
    this.select = make("select", { id: "funnel-select", "data-label": "funnel" });
    this.by = make("select", { id: "funnel-by", "data-label": "breakdown" }, make("option", { value: "" }), make("option", { value: "by" }));
    this.select.addEventListener("change", changed);
    this.by.addEventListener("change", () => this.panel.draw());
    this.panel.tools.append(this.select, this.by);
  }

  chosen() {
    return this.funnels.find((one) => one.id === this.select.value);
  }

  /** The choice of a breakdown, where the funnel has one. */
  name(funnel) {
    this.by.hidden = !funnel?.breakdowns.length;
    say(this.by.options[0], t("all_users"));
    say(this.by.options[1], t("by", { name: funnel?.by_title ?? "" }));
  }

  /** Offers the funnels of the app that is looked at, of a group those of its apps; the panel is away where there are none. */
  follow({ id, apps }) {
    const own = this.funnels.filter((one) => one.app === id || apps.includes(one.app));
    const before = this.select.value;
    this.select.replaceChildren(...own.map((one) => make("option", { value: one.id }, one.name)));
    if (own.some((one) => one.id === before)) this.select.value = before;
    this.select.hidden = own.length < 2;
    this.panel.section.hidden = this.funnels.length > 0 && !own.length;
  }

  async load({ facet, todayOf, nameOf }) {
    const funnel = this.chosen();
    if (!funnel) return { funnel: null, steps: [], parts: [] };
    const day = todayOf(funnel.app);
    const rows = await metrics({ metric: "funnel_users", app: funnel.app, facet: `${funnel.id}:*`, from: day, to: day });
    const values = new Map(rows.map((row) => [row.facet, row.value]));
    const parts = funnel.breakdowns.map(({ id, title }) => ({ name: title, values: funnel.steps.map((step) => values.get(`${step.facet}:${id}`) ?? 0) }));
    return {
      funnel,
      facet,
      app: nameOf(funnel.app),
      steps: funnel.steps.map((step) => ({ name: step.event, value: values.get(step.facet) ?? 0 })),
      parts: parts.filter((part) => part.values[0]),
    };
  }

  paint({ funnel, facet, app, steps, parts }) {
    const first = steps[0]?.value;
    this.name(funnel);
    this.panel.say(funnel ? [funnel.name, app, facet && t("of_any")].filter(Boolean).join(" · ") : t("no_funnel"));
    if (this.by.value && parts.length) {
      this.compare(steps, parts);
      return;
    }
    this.panel.show(
      first > 0 && {
        grid: { left: 2, right: 84, top: 8, bottom: 4, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
        xAxis: axis({ type: "value", max: first, show: false }),
        yAxis: axis({ type: "category", inverse: true, data: steps.map((step) => step.name), axisLabel: { color: colour("text"), width: 116, overflow: "truncate" } }),
        tooltip: { ...TOOLTIP(), formatter: ({ dataIndex: at }) => `${steps[at].name}: ${whole(steps[at].value)}` },
        series: [
          {
            type: "bar",
            data: steps.map((step) => step.value),
            barMaxWidth: 26,
            showBackground: true,
            backgroundStyle: { color: colour("grid"), borderRadius: 4 },
            itemStyle: { borderRadius: 4, color: colour("c1") },
            label: { show: true, position: "right", distance: 6, color: colour("text"), formatter: ({ value }) => `${whole(value)}  ${percent(value / first, 0)}` },
          },
        ],
      },
      this.differs("whole"),
    );
    this.panel.tabulate(
      [t("step"), t("reached"), t("of_first"), t("of_previous")],
      steps.map((step, at) => [step.name, whole(step.value), percent(step.value / first), at ? percent(step.value / steps[at - 1].value) : "–"]),
    );
  }

  /** Whether the chart has other series than the one before. */
  differs(series) {
    const before = this.series;
    this.series = series;
    return before !== series;
  }

  /** Side by side by the values of a segment: as shares, because some have many more users than others. */
  compare(steps, parts) {
    const share = (part, at) => part.values[at] / part.values[0];
    this.panel.show(
      {
        legend: legend(),
        grid: { left: 2, right: 20, top: 34, bottom: 4, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
        xAxis: axis({ type: "value", max: 1, axisLabel: { color: colour("muted"), formatter: (value) => percent(value, 0) } }),
        yAxis: axis({ type: "category", inverse: true, data: steps.map((step) => step.name), axisLabel: { color: colour("text"), width: 116, overflow: "truncate" } }),
        tooltip: { ...TOOLTIP(), formatter: ({ seriesIndex, dataIndex: at }) => `${parts[seriesIndex].name}, ${steps[at].name}: ${whole(parts[seriesIndex].values[at])}  ${percent(share(parts[seriesIndex], at))}` },
        series: parts.map((part) => ({ name: part.name, type: "bar", data: steps.map((_, at) => share(part, at)), barMaxWidth: 14, itemStyle: { borderRadius: 2 } })),
      },
      this.differs(parts.map((part) => part.name).join()),
    );
    this.panel.tabulate([t("step"), ...parts.map((part) => part.name)], steps.map((step, at) => [step.name, ...parts.map((part) => `${whole(part.values[at])} (${percent(share(part, at), 0)})`)]));
  }
}

export class Events {
  constructor() {
    this.panel = new Panel("events", { chart: false });
    this.panel.paint = (data) => this.paint(data);
    this.list = make("ol", { class: "list", id: "events" });
    this.feed = make("ul", { class: "feed", id: "feed" });
    this.panel.body.append(this.list, this.feed);
  }

  async load({ app, facet, nameOf, zone }) {
    const found = await get("events/recent", { app, minutes: 5, limit: 8 });
    return { ...found, facet, nameOf, zone };
  }

  paint({ top, sample, total, minutes, facet, nameOf, zone }) {
    this.panel.say([total ? t("events_note", { total: whole(total), minutes }) : t("no_data"), facet && t("of_any")].filter(Boolean).join(" · "));
    const most = top[0]?.count ?? 1;
    this.list.replaceChildren(
      ...top.map(({ event, app, count }) => {
        const bar = make("i");
        bar.style.width = `${(count / most) * 100}%`;
        return make("li", {}, make("span", { class: "name" }, event, " ", make("small", {}, nameOf(app))), make("b", {}, whole(count)), make("span", { class: "track", "aria-hidden": "true" }, bar));
      }),
    );
    this.feed.replaceChildren(
      ...sample.slice(0, 5).map((one) => make("li", {}, [clock(one.received, zone), one.event, nameOf(one.app), one.platform, one.version].filter(Boolean).join(" · "))),
    );
    this.panel.tabulate([t("event"), t("app"), t("count")], top.map(({ event, app, count }) => [event, nameOf(app), whole(count)]));
  }
}
