// The API's documentation in Chinese: the texts of the OpenAPI document, white space as one blank -> what they say. Names stay.
export const TYPES = { integer: "整数", string: "字符串", number: "数值", boolean: "布尔值", object: "对象", date: "日期", any: "任意" };

export const TEXTS = {
  "Read-only. Instants are ms UTC; days are local dates of the app (of a group: the project's).":
    "只读接口。时刻为 UTC 毫秒数；日期为应用所在时区的当地日期（组合取项目时区）。",
  "Published numbers, paged or exported": "已发布的指标，可分页或导出",
  "Every number of the catalogue by app, facet, window and day. Partitions are added up; the last version counts.":
    "指标目录中的全部数值，按应用、分面、窗口和日期给出。各分区相加，以最后一个版本为准。",
  "Its name in the catalogue.": "指标目录中的名称。",
  "Apps or groups, comma-separated; without it all of them.": "应用或组合，用逗号分隔；不填则为全部。",
  "Exactly this facet (empty: any activity); with a trailing * all that begin so; without it all of them.":
    "仅此分面（空值：全部活跃）；以 * 结尾则匹配所有以此开头的分面；不填则为全部。",
  "One of the metric's windows; without it day, or the metric's only one.": "该指标的一个窗口；不填则为 day，或该指标唯一的窗口。",
  "First local day; without it 30 days before `to` (7 for hours).": "起始日期（当地）；不填则为 `to` 之前 30 天（小时窗口为 7 天）。",
  "Last local day, included; without it today in the easternmost of the plan's zones.":
    "结束日期（当地，含当日）；不填则为方案中最靠东的时区的今天。",
  "Rows of a page (at most 10000, by default 1000), or of an export (200000; see Link).":
    "每页行数（最多 10000，默认 1000），或导出的行数（200000，见响应头 Link）。",
  "next_cursor of the page before, with all other parameters as they were.": "上一页的 next_cursor；其余参数须保持不变。",
  "A file instead of JSON.": "返回文件而非 JSON。",
  "What can be asked for": "可查询的内容",
  "All metrics with unit, windows and exact definition, and the plan's funnels.": "全部指标及其单位、窗口和准确定义，以及方案中的漏斗。",
  "Apps and groups": "应用与组合",
  "With names, time zones, facets, and the local date.": "包括名称、时区、分面和当地日期。",
  "Live numbers": "实时数据",
  "Current windows of each app and group, seconds old. They do not pass through ClickHouse.":
    "各应用和组合的当前窗口，延迟仅数秒，不经过 ClickHouse。",
  "One facet of the plan (empty: any activity).": "方案中的一个分面（空值：全部活跃）。",
  "Recent events": "最近的事件",
  "The most frequent event names of the last minutes, and a sample without personal data.": "最近几分钟最常见的事件名称，以及不含个人数据的样本。",
  "How far back, by the events' own time.": "回溯多久，按事件自身的时间。",
  "Names, and events of the sample.": "名称的个数，以及样本中事件的个数。",
  "What could not be accepted": "未能接受的数据",
  "Counts by stage, reason and app, for the quality of tracking points.": "按环节、原因和应用计数，用于衡量埋点质量。",
  "How far back.": "回溯多久。",
  "How events keep to the plan": "事件与埋点方案的符合情况",
  "Violations of the tracking plan by app version, and how late events came: of events received in the last hours.":
    "最近几小时收到的事件中，各应用版本不符合埋点方案之处，以及事件迟到的情况。",
  "Health of the pipeline": "链路健康",
  "Lag, freshness, rates and failures as the sinks' process sees them.": "入库进程所见的积压、新鲜度、速率和失败。",
  "Live numbers, each second": "每秒的实时数据",
  "Server-sent events named `now`, each with the live numbers and the pipeline's health.":
    "名为 `now` 的服务器推送事件，每个都带有实时数据和链路健康状况。",
  "This document": "本文档",
  "The body of every answer that is no 200: code is one of a closed list, message is for people.":
    "所有非 200 响应的内容：code 取自固定的列表，message 供人阅读。",
  "Rows ordered by start, app, facet. next_cursor gives the next page; null on the last.":
    "按 start、app、facet 排序的行。next_cursor 用于取下一页；最后一页为 null。",
  "A published number. start: 0 for 5m and 30m, which have no day; day: the window's local date (7d, 30d: its last day) or null; hour: 0-23 or null.":
    "一个已发布的数值。start：5m 和 30m 为 0，它们没有日期；day：窗口的当地日期（7d、30d 为其最后一天）或 null；hour：0-23 或 null。",
  "What can be asked for.": "可查询的内容。",
  "A metric: what it counts, in which unit, over which windows.": "一个指标：统计什么、单位是什么、有哪些窗口。",
  'A funnel of the plan. by, by_title: the segment by whose values it is broken down too, "" if it is not.':
    '方案中的一个漏斗。by、by_title：按其取值细分的分群；没有细分则为 ""。',
  "A value of the segment by which a funnel is broken down: a step's users of it have the facet `<the step's>:<id>`.":
    "漏斗细分所用分群的一个取值：该取值下某一步骤的人数在分面 `<步骤的分面>:<id>` 中。",
  "A funnel's step; facet is what metric funnel_users has it under.": "漏斗的一个步骤；facet 是它在指标 funnel_users 中的分面。",
  "The plan's apps and groups.": "方案中的应用与组合。",
  "An app or a group of apps. today, hour: its clock now; apps: the members of a group; population 0: not given.":
    "一个应用或一组应用。today、hour：其当前的当地时间；apps：组合的成员；population 为 0：未给出。",
  "A facet and its name in the plan.": "一个分面及其在方案中的名称。",
  "caught_up is false while the totals are still read after a start: there are no rows then, because half a sum is wrong.":
    "启动后仍在读取汇总时 caught_up 为 false：此时没有行，因为只加了一半的和是错的。",
  "Live numbers of an app or group: current windows by its own clock. null: not known (yet), or not counted for this facet.":
    "一个应用或组合的实时数据：按其当地时间的当前窗口。null：（尚）不知道，或该分面不统计此项。",
  "Events whose time is in the span, each counted once: the most frequent names (total: of all) and the latest.":
    "时间在此区间内的事件，每个只计一次：最常见的名称（total：全部事件数）和最新的事件。",
  "How often an event came in the span.": "事件在此区间内出现的次数。",
  "An event without what could tell whose it is: no person, no ids, no properties.": "一个去除身份信息的事件：没有用户、标识和属性。",
  "accepted: events received in the same span.": "accepted：同一区间内收到的事件数。",
  "What could not be accepted, by reason.": "未能接受的数据，按原因。",
  "Events received in the span: what is not as the plan says, and what came late. At most 500 rows each. checked: the apps that have schemas.":
    "此区间内收到的事件中不符合方案的和迟到的，各最多 500 行。checked：定义了事件结构的应用。",
  'A violation of the tracking plan: count of total events of that name and version; property "" where none is meant.':
    '一种不符合埋点方案的情况：该名称和版本的 total 个事件中有 count 个；不针对某个属性时 property 为 ""。',
  "How long after they happened events came: over an hour; too late for numbers of hours, and of days; median and p95 (ms).":
    "事件发生后多久才收到：超过一小时的；来不及计入小时指标和日指标的；中位数和 p95（毫秒）。",
  "The sinks' process about itself; counters are since its start, marks are ms UTC (0: none yet). freshness_ms: age of the newest total that was read; null before the first. waiting: which sink waits, and why.":
    "入库进程的自述；计数从其启动算起，时刻为 UTC 毫秒数（0：还没有）。freshness_ms：已读到的最新汇总的时延；读到第一个之前为 null。waiting：哪个入库环节在等待，以及原因。",
  "The data of one server-sent event.": "一个服务器推送事件的数据。",
};
