// A panel: title, note, chart, and the same numbers as a table for those who cannot see the chart.
import { colour, make, onLook, say, t } from "/page.js";

const still = matchMedia("(prefers-reduced-motion: reduce)");
const observer = new ResizeObserver((entries) => {
  for (const { target } of entries) target.resized?.();
});

export class Panel {
  /** kind: "chart" or "plain"; size: "", "tall" or "small". The section must be in the document. */
  constructor(name, { size = "", chart = true } = {}) {
    this.name = name;
    this.section = document.querySelector(`[data-panel="${name}"]`);
    this.title = make("h2", { id: `${name}-title`, "data-t": name });
    this.tools = make("div", { class: "tools" });
    this.note = make("p", { class: "note", id: `${name}-note` });
    this.fault = make("p", { class: "fault", id: `${name}-fault`, hidden: true });
    this.section.setAttribute("aria-labelledby", this.title.id);
    this.section.append(make("header", {}, this.title, this.tools), this.note, this.fault);
    this.body = make("div", {});
    this.section.append(this.body);
    this.data = null;
    if (chart) {
      this.holder = make("div", { class: `chart ${size}`, role: "img", id: name, "aria-labelledby": `${name}-title ${name}-note` });
      this.empty = make("p", { class: "empty", "data-t": "no_data", hidden: true });
      this.body.append(this.holder, this.empty);
      this.holder.resized = () => {
        if (!this.chart || !this.holder.clientWidth) return;
        this.chart.resize();
        this.draw();
      };
      observer.observe(this.holder);
    }
    this.table = make("table", { id: `${name}-table` });
    this.section.append(
      make(
        "details",
        {},
        make("summary", { "data-t": "table" }),
        make("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": this.title.id }, this.table),
      ),
    );
    onLook(() => this.draw());
  }

  /** New data; undefined draws what there is again. `paint(data, panel)` is set by the panel's owner. */
  draw(data) {
    if (data !== undefined) {
      this.data = data;
      this.mark("");
    }
    if (this.data !== null) this.paint?.(this.data, this);
    else if (this.section.dataset.state) this.say(t(this.section.dataset.state === "failed" ? "no_data" : "loading"));
    say(this.fault, this.why ? `${t("failed_panel")} ${this.why}` : "");
    this.fault.hidden = !this.why;
  }

  /** Something else is asked for: what is shown is not the answer, and goes at once. */
  wait() {
    this.data = null;
    this.table.replaceChildren();
    this.mark("loading");
    this.draw();
  }

  /** The question failed: `why` is said here, above the numbers of the same question if there are any. */
  fail(why) {
    this.mark("failed", why);
    this.draw();
  }

  /** state: "", "loading" or "failed"; without an answer to it the body is not seen. */
  mark(state, why = "") {
    this.why = why;
    this.section.dataset.state = state;
    this.section.setAttribute("aria-busy", String(state === "loading"));
    this.body.classList.toggle("unknown", this.data === null && state !== "");
  }

  /** Shows an ECharts option, or that there is nothing; replace: the chart has other series than before. */
  show(option, replace = false) {
    this.holder.hidden = !option;
    this.empty.hidden = Boolean(option);
    if (!option) return;
    this.chart ??= echarts.init(this.holder, null, { renderer: "canvas" });
    this.chart.setOption({ ...base(), animation: !still.matches, animationDuration: 250, ...option }, { notMerge: replace });
  }

  /** head: column names; rows: cells as text, the first is the row's name. */
  tabulate(head, rows) {
    const caption = make("caption", { hidden: true }, this.title.textContent);
    this.table.replaceChildren(
      caption,
      make("thead", {}, make("tr", {}, ...head.map((cell) => make("th", { scope: "col" }, String(cell))))),
      make(
        "tbody",
        {},
        ...rows.map((row) => make("tr", {}, ...row.map((cell, at) => make(at ? "td" : "th", at ? {} : { scope: "row" }, String(cell))))),
      ),
    );
  }

  say(text) {
    say(this.note, text);
  }
}

/** What all charts have in common. Tooltips are drawn on the canvas: as HTML they would need styles that the page forbids. */
function base() {
  return {
    color: ["c1", "c2", "c3", "c4", "c5", "c6"].map(colour),
    textStyle: { fontFamily: getComputedStyle(document.body).fontFamily, color: colour("text") },
    tooltip: {
      renderMode: "richText",
      confine: true,
      backgroundColor: colour("card"),
      borderColor: colour("line"),
      textStyle: { color: colour("text"), fontSize: 12 },
    },
    grid: { left: 8, right: 14, top: 34, bottom: 6, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
  };
}

export const axis = (more = {}) => ({
  axisLine: { lineStyle: { color: colour("line") } },
  axisTick: { show: false },
  axisLabel: { color: colour("muted"), hideOverlap: true },
  splitLine: { lineStyle: { color: colour("grid") } },
  ...more,
});

export const legend = () => ({ top: 0, right: 0, type: "scroll", icon: "roundRect", itemWidth: 14, itemHeight: 4, textStyle: { color: colour("muted") } });

/** A heat map's options. cells: [x, y, value]; labels: cells say their values, and need no scale of colours above them. */
export function heat(columns, rows, cells, most, format, labels = false) {
  return {
    grid: { left: 4, right: 6, top: labels ? 6 : 30, bottom: 6, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
    xAxis: axis({ type: "category", data: columns, splitLine: { show: false } }),
    yAxis: axis({ type: "category", data: rows, inverse: true, splitLine: { show: false } }),
    visualMap: {
      show: !labels,
      type: "continuous",
      orient: "horizontal",
      top: 8,
      right: 6,
      padding: 0,
      itemWidth: 8,
      itemHeight: 120,
      textGap: 8,
      min: 0,
      max: most || 1,
      text: [format(most), format(0)],
      textStyle: { color: colour("muted") },
      inRange: { color: [colour("low"), colour("accent")] },
    },
    series: [
      {
        type: "heatmap",
        data: cells.map((value) => ({ value, label: { color: colour(value[2] > most * 0.55 ? "card" : "text") } })),
        label: { show: labels, formatter: (cell) => format(cell.value[2]), fontSize: 12 },
        itemStyle: { borderColor: colour("card"), borderWidth: 1 },
        emphasis: { itemStyle: { borderColor: colour("text") } },
      },
    ],
  };
}
