// The past: a number's history by app and facet, and the heat map of hours and weekdays.
import { decimal, hourName, make, shift, t, weekday, weekdays, whole } from "/page.js";
import { Panel, axis, heat, legend } from "/panel.js";
import { TOOLTIP } from "/today.js";
import { metrics } from "/api.js";

const COUNTS = ["active_users:day", "active_users:7d", "active_users:30d", "active_users:month"];
const OF_APPS = ["launches", "usage_ms", "sessions"];
/** name -> [metric, what one of it is divided by]; per daily active user. */
const RATIOS = { launches_ratio: ["launches", 1], usage_ratio: ["usage_ms", 60000], sessions_ratio: ["sessions", 1] };
const LIFE = ["new_users", "returning_users", "resurrected_users", "dormant_users"];
const SPANS = [30, 90, 365];

/** Every day from the first to the last, or the first day of every month: one without a number is a gap. */
function daysOf(from, to, monthly) {
  const days = [];
  for (let day = from; day <= to; day = shift(day, 1)) days.push(day);
  return monthly ? [...new Set(days.map((day) => `${day.slice(0, 7)}-01`))] : days;
}

/** A point for a value between two gaps, which no line goes to. */
const alone = (values) => ({
  symbol: "circle",
  showAllSymbol: true,
  symbolSize: (_, { dataIndex: at }) => ((values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null ? 5 : 0),
});

export class History {
  constructor(catalogue, changed) {
    this.titles = new Map(catalogue.metrics.map((one) => [one.name, one]));
    this.panel = new Panel("history");
    this.metric = make("select", { id: "metric", "data-label": "metric" });
    for (const name of [...COUNTS, ...LIFE, ...Object.keys(RATIOS)]) this.metric.append(make("option", { value: name }));
    this.span = make("select", { id: "span", "data-label": "span" }, ...SPANS.map((days) => make("option", { value: days })));
    this.compare = make("input", { type: "checkbox", id: "compare" });
    this.panel.tools.append(this.metric, this.span, make("label", {}, this.compare, make("span", { "data-t": "compare" })));
    for (const control of [this.metric, this.span, this.compare]) control.addEventListener("change", changed);
    this.panel.paint = (data) => this.paint(data);
  }

  title(name) {
    const known = this.titles.get(name);
    return known ? (document.documentElement.lang.startsWith("zh") ? known.title_zh : known.title) : t(name);
  }

  name() {
    for (const option of this.metric.options) option.textContent = this.title(option.value);
    for (const option of this.span.options) option.textContent = t("days", { n: option.value });
  }

  async load({ app, facet, today, apps, nameOf }) {
    const choice = this.metric.value;
    const [metric, window] = RATIOS[choice] ? [RATIOS[choice][0], "day"] : choice.split(":");
    const wanted = this.compare.checked ? apps.filter((one) => one.kind === "app" || !OF_APPS.includes(metric)).map((one) => one.id) : [app];
    const span = { app: wanted.join(","), window: window ?? "day", from: shift(today, 1 - Number(this.span.value)), to: today };
    const faceted = metric === "active_users";
    const rows = await metrics({ ...span, metric, facet: faceted ? facet : "" });
    let value = (row) => row.value;
    if (RATIOS[choice]) {
      const active = await metrics({ ...span, metric: "active_users", facet: "" });
      const users = new Map(active.map((row) => [`${row.app} ${row.day}`, row.value]));
      value = (row) => row.value / RATIOS[choice][1] / (users.get(`${row.app} ${row.day}`) || NaN);
    }
    const days = rows.length ? daysOf(span.from, span.to, window === "month") : [];
    const found = new Map(rows.map((row) => [`${row.app} ${row.day}`, value(row)]));
    const series = wanted.map((one) => ({ name: nameOf(one), values: days.map((day) => found.get(`${one} ${day}`) ?? null) }));
    return { choice, days, series, monthly: window === "month", ratio: Boolean(RATIOS[choice]), any: Boolean(facet) && !faceted };
  }

  paint({ choice, days, series, monthly, ratio, any }) {
    this.name();
    const shown = ratio ? decimal : whole;
    this.panel.show(
      days.length > 0 && {
        legend: legend(),
        xAxis: axis({ type: "category", data: days.map((day) => (monthly ? day.slice(0, 7) : day)), boundaryGap: monthly }),
        yAxis: axis({ type: "value", min: 0, minInterval: ratio ? undefined : 1 }),
        tooltip: { ...TOOLTIP(), trigger: "axis", valueFormatter: shown },
        series: series.map((one) => ({ name: one.name, data: one.values, type: monthly ? "bar" : "line", ...alone(one.values), barMaxWidth: 40, lineStyle: { width: 2 } })),
      },
      true,
    );
    this.panel.say([this.title(choice), t("filling"), any && t("of_any")].filter(Boolean).join(" · "));
    const begin = days.findIndex((_, at) => series.some((one) => one.values[at] !== null));
    this.panel.tabulate(
      [t(monthly ? "month" : "day"), ...series.map((one) => one.name)],
      days.map((day, at) => [monthly ? day.slice(0, 7) : day, ...series.map((one) => shown(one.values[at]))]).slice(begin).reverse(),
    );
  }
}

export class Heat {
  constructor() {
    this.panel = new Panel("heat", { size: "tall" });
    this.panel.paint = (data) => this.paint(data);
  }

  /** days: of past hours, as the hour curve has loaded them. */
  paint(days) {
    const sums = Array.from({ length: 7 }, () => Array(24).fill(0));
    const counts = Array(7).fill(0);
    for (const [day, hours] of days) {
      counts[weekday(day)] += 1;
      hours.forEach((value, hour) => (sums[weekday(day)][hour] += value));
    }
    const names = weekdays();
    const mean = (day, hour) => (counts[day] ? Math.round(sums[day][hour] / counts[day]) : null);
    const cells = [];
    for (let day = 0; day < 7; day++) for (let hour = 0; hour < 24; hour++) if (counts[day]) cells.push([hour, day, mean(day, hour)]);
    const hours = [...Array(24).keys()].map(hourName);
    this.panel.say(t("heat_note", { n: days.size }));
    this.panel.show(
      cells.length > 0 && {
        ...heat(hours, names, cells, Math.max(...cells.map((cell) => cell[2])), whole),
        tooltip: { ...TOOLTIP(), formatter: ({ value }) => `${names[value[1]]} ${hours[value[0]]}  ${whole(value[2])}` },
      },
    );
    this.panel.tabulate([t("weekday"), ...hours], names.map((name, day) => [name, ...hours.map((_, hour) => whole(mean(day, hour)))]));
  }
}

