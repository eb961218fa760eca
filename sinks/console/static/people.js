// People: who comes back, and who uses more than one app.
import { percent, shift, t, whole } from "/page.js";
import { Panel, heat } from "/panel.js";
import { TOOLTIP } from "/today.js";
import { metrics } from "/api.js";

const LAST_DAY = 30;

export class Retention {
  constructor() {
    this.panel = new Panel("retention", { size: "tall" });
    this.panel.paint = (data) => this.paint(data);
  }

  async load({ app, facet, today }) {
    const rows = await metrics({ metric: "retained_users", app, from: shift(today, -LAST_DAY - 1), to: today });
    const found = new Map();
    for (const row of rows) {
      if (!found.has(row.day)) found.set(row.day, new Map());
      found.get(row.day).set(Number(row.facet.slice(1)), row.value);
    }
    return { today, facet, cohorts: [...found].sort(([a], [b]) => (a < b ? -1 : 1)).filter(([day, kept]) => shift(day, 1) < today && kept.get(0)) };
  }

  paint({ today, facet, cohorts }) {
    const over = (day, after) => shift(day, after) < today; // today's share only grows: it is no number yet
    const share = (day, kept, after) => (over(day, after) ? (kept.get(after) ?? 0) / kept.get(0) : null);
    const days = [...Array(LAST_DAY + 1).keys()];
    const cells = [];
    cohorts.forEach(([day, kept], row) => days.slice(1).forEach((after) => {
      if (over(day, after)) cells.push([after - 1, row, share(day, kept, after)]);
    }));
    this.panel.say([t("retention_note"), facet && t("of_any")].filter(Boolean).join(" · "));
    const option = heat(days.slice(1).map((day) => `D${day}`), cohorts.map(([day]) => day.slice(5)), cells, Math.max(...cells.map((cell) => cell[2])), percent);
    option.yAxis.axisLabel = { ...option.yAxis.axisLabel, interval: Math.ceil(cohorts.length / 11) - 1 };
    this.panel.show(
      cells.length > 0 && {
        ...option,
        tooltip: {
          ...TOOLTIP(),
          formatter: ({ value }) => {
            const [day, kept] = cohorts[value[1]];
            return `${day}  D${value[0] + 1}\n${whole(kept.get(value[0] + 1) ?? 0)} / ${whole(kept.get(0))} = ${percent(value[2])}`;
          },
        },
      },
    );
    this.panel.tabulate(
      [t("cohort"), t("size"), ...days.slice(1).map((day) => `D${day}`)],
      cohorts.map(([day, kept]) => [day, whole(kept.get(0)), ...days.slice(1).map((after) => (over(day, after) ? percent(share(day, kept, after)) : ""))]).reverse(),
    );
  }
}

export class Overlap {
  constructor() {
    this.panel = new Panel("overlap", { size: "tall" });
    this.panel.paint = (data) => this.paint(data);
  }

  async load({ apps, facet, today }) {
    const single = apps.filter((one) => one.kind === "app");
    const span = { app: single.map((one) => one.id).join(","), window: "month", from: today, to: today };
    const [both, active] = await Promise.all([metrics({ metric: "overlap_users", ...span }), metrics({ metric: "active_users", facet: "", ...span })]);
    return {
      facet,
      apps: single,
      both: new Map(both.map((row) => [`${row.app} ${row.facet.slice(4)}`, row.value])),
      active: new Map(active.map((row) => [row.app, row.value])),
    };
  }

  paint({ facet, apps, both, active }) {
    const names = apps.map((one) => one.name);
    const shared = (one, other) => (one.id === other.id ? active.get(one.id) : both.get(`${one.id} ${other.id}`) ?? 0);
    const share = (one, other) => (active.get(one.id) ? shared(one, other) / active.get(one.id) : null);
    const cells = apps.flatMap((one, row) => apps.flatMap((other, column) => (share(one, other) === null ? [] : [[column, row, share(one, other)]])));
    this.panel.say([t("overlap_note"), t("of_all_apps"), facet && t("of_any")].filter(Boolean).join(" · "));
    const option = heat(names, names, cells, 1, (value) => percent(value, 0), apps.length < 9);
    const label = { width: 80, overflow: "truncate", interval: 0 };
    const room = (this.panel.section.clientWidth - 100) / apps.length; // of a column, beside the names of the rows
    option.xAxis.axisLabel = { ...option.xAxis.axisLabel, ...label, hideOverlap: false, rotate: room < label.width ? 40 : 0 };
    option.yAxis.axisLabel = { ...option.yAxis.axisLabel, ...label };
    this.panel.show(
      cells.length > 0 &&
        apps.length > 1 && {
          ...option,
          tooltip: {
            ...TOOLTIP(),
            formatter: ({ value: [column, row, rate] }) =>
              `${names[row]} × ${names[column]}\n${whole(shared(apps[row], apps[column]))} / ${whole(active.get(apps[row].id))} = ${percent(rate)}`,
          },
        },
    );
    this.panel.tabulate(
      ["", ...names],
      apps.map((one) => [one.name, ...apps.map((other) => (share(one, other) === null ? "–" : `${whole(shared(one, other))} (${percent(share(one, other), 0)})`))]),
    );
  }
}
