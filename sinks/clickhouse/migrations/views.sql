-- One name for each number. FINAL, because a total that is not merged yet has several versions; the filter on the layout and
-- those of a panel on app, facet and window are on the sorting key, where they are safe with FINAL.

CREATE OR REPLACE VIEW apps {on_cluster} AS
SELECT id, name, time_zone, population, kind
FROM plan_apps FINAL
WHERE NOT removed;

CREATE OR REPLACE VIEW totals {on_cluster} AS
SELECT metric, app, facet, window, start, day, hour, fromUnixTimestamp64Milli(start, 'UTC') AS start_at,
    sum(metrics.value) AS value, fromUnixTimestamp64Milli(max(metrics.at), 'UTC') AS at
FROM metrics FINAL
WHERE layout = (SELECT argMax(layouts.layout, layouts.since) FROM layouts) AND window NOT IN ('5m', '30m')
GROUP BY metric, app, facet, window, start, day, hour
UNION ALL
SELECT metric, app, facet, window, 0 AS start, toDate(0) AS day, toInt8(-1) AS hour, fromUnixTimestamp64Milli(0, 'UTC') AS start_at,
    sum(metrics.value) AS value, fromUnixTimestamp64Milli(max(metrics.at), 'UTC') AS at
FROM metrics FINAL
WHERE layout = (SELECT argMax(layouts.layout, layouts.since) FROM layouts) AND window IN ('5m', '30m')
GROUP BY metric, app, facet, window;

CREATE OR REPLACE VIEW active_users {on_cluster} AS
SELECT app, facet, window, day, hour, start_at, value AS active_users, at
FROM totals
WHERE metric = 'active_users';

-- NULL where the stream has been silent about the app for longer than the window (and two minutes): nobody has worked out since who
-- is still there. A number that stays the same is not told again, so any total of the app is a sign of life.
CREATE OR REPLACE VIEW active_now {on_cluster} AS
SELECT latest.app AS app, latest.facet AS facet,
    if(five > 0 AND alive.told < toUnixTimestamp64Milli(now64(3)) - 420000, NULL, five) AS active_5m,
    if(thirty > 0 AND alive.told < toUnixTimestamp64Milli(now64(3)) - 1920000, NULL, thirty) AS active_30m, latest.at AS at
FROM (
    SELECT app, facet, sumIf(value, window = '5m') AS five, sumIf(value, window = '30m') AS thirty, max(totals.at) AS at
    FROM totals
    WHERE metric = 'active_users' AND window IN ('5m', '30m')
    GROUP BY app, facet
) AS latest
LEFT JOIN (
    SELECT app, max(metrics.at) AS told
    FROM metrics
    WHERE layout = (SELECT argMax(layouts.layout, layouts.since) FROM layouts) AND metric IN ('active_users', 'usage_ms')
    GROUP BY app
) AS alive ON alive.app = latest.app;

CREATE OR REPLACE VIEW dau {on_cluster} AS
SELECT app, facet, day, value AS dau
FROM totals
WHERE metric = 'active_users' AND window = 'day';

CREATE OR REPLACE VIEW wau {on_cluster} AS
SELECT app, facet, day, value AS wau
FROM totals
WHERE metric = 'active_users' AND window = '7d';

CREATE OR REPLACE VIEW mau_30d {on_cluster} AS
SELECT app, facet, day, value AS mau_30d
FROM totals
WHERE metric = 'active_users' AND window = '30d';

CREATE OR REPLACE VIEW mau {on_cluster} AS
SELECT app, facet, day AS month, value AS mau
FROM totals
WHERE metric = 'active_users' AND window = 'month';

CREATE OR REPLACE VIEW hourly_active_users {on_cluster} AS
SELECT app, facet, day, hour, start_at, value AS active_users
FROM totals
WHERE metric = 'active_users' AND window = 'hour';

CREATE OR REPLACE VIEW hourly_share {on_cluster} AS
SELECT app, facet, day, hour, start_at, active_users, day_users, if(day_users = 0, 0, active_users / day_users) AS share
FROM (
    SELECT app, facet, day, hour, start_at, window, value AS active_users,
        maxIf(value, window = 'day') OVER (PARTITION BY app, facet, day) AS day_users
    FROM totals
    WHERE metric = 'active_users' AND window IN ('hour', 'day')
)
WHERE window = 'hour';

CREATE OR REPLACE VIEW hourly_peak {on_cluster} AS
SELECT app, facet, day,
    argMaxIf(hour, (value, -start), window = 'hour') AS peak_hour,
    argMaxIf(start_at, (value, -start), window = 'hour') AS peak_start_at,
    maxIf(value, window = 'hour') AS peak_users,
    sumIf(value, window = 'day') AS day_users,
    if(day_users = 0, 0, peak_users / day_users) AS peak_share
FROM totals
WHERE metric = 'active_users' AND window IN ('hour', 'day')
GROUP BY app, facet, day
HAVING peak_users > 0;

CREATE OR REPLACE VIEW stickiness {on_cluster} AS
SELECT daily.app AS app, daily.facet AS facet, daily.day AS day, daily.dau AS dau, monthly.mau AS mau, daily.mau_30d AS mau_30d,
    if(mau = 0, 0, dau / mau) AS stickiness, if(mau_30d = 0, 0, dau / mau_30d) AS stickiness_30d
FROM (
    SELECT app, facet, day, sumIf(value, window = 'day') AS dau, sumIf(value, window = '30d') AS mau_30d
    FROM totals
    WHERE metric = 'active_users' AND window IN ('day', '30d')
    GROUP BY app, facet, day
) AS daily
LEFT JOIN (
    SELECT app, facet, month, mau
    FROM mau
) AS monthly ON monthly.app = daily.app AND monthly.facet = daily.facet AND monthly.month = toStartOfMonth(daily.day);

CREATE OR REPLACE VIEW launches_per_user {on_cluster} AS
SELECT app, day, sumIf(value, metric = 'launches') AS launches, sumIf(value, metric = 'active_users') AS dau,
    if(dau = 0, 0, launches / dau) AS launches_per_user
FROM totals
WHERE metric IN ('launches', 'active_users') AND facet = '' AND window = 'day'
GROUP BY app, day;

CREATE OR REPLACE VIEW usage_per_user {on_cluster} AS
SELECT app, day, sumIf(value, metric = 'usage_ms') / 60000 AS usage_minutes, sumIf(value, metric = 'active_users') AS dau,
    if(dau = 0, 0, usage_minutes / dau) AS minutes_per_user
FROM totals
WHERE metric IN ('usage_ms', 'active_users') AND facet = '' AND window = 'day'
GROUP BY app, day;

CREATE OR REPLACE VIEW sessions_per_user {on_cluster} AS
SELECT app, day, sumIf(value, metric = 'sessions') AS sessions, sumIf(value, metric = 'active_users') AS dau,
    if(dau = 0, 0, sessions / dau) AS sessions_per_user,
    if(sessions = 0, 0, sumIf(value, metric = 'usage_ms') / 60000 / sessions) AS minutes_per_session
FROM totals
WHERE metric IN ('sessions', 'usage_ms', 'active_users') AND facet = '' AND window = 'day'
GROUP BY app, day;

CREATE OR REPLACE VIEW lifecycle {on_cluster} AS
SELECT app, day, sumIf(value, metric = 'active_users') AS dau, sumIf(value, metric = 'new_users') AS new_users,
    sumIf(value, metric = 'returning_users') AS returning_users, sumIf(value, metric = 'resurrected_users') AS resurrected_users,
    sumIf(value, metric = 'dormant_users') AS dormant_users
FROM totals
WHERE metric IN ('active_users', 'new_users', 'returning_users', 'resurrected_users', 'dormant_users')
    AND facet = '' AND window = 'day'
GROUP BY app, day;

-- A day on which nobody of a cohort came back has no total: it is a row here all the same, as far as the app has come.
CREATE OR REPLACE VIEW retention {on_cluster} AS
SELECT cohorts.app AS app, cohorts.cohort AS cohort, cohorts.n AS n, cohorts.day AS day, cohorts.cohort_users AS cohort_users,
    again.retained AS retained_users, if(cohort_users = 0, 0, retained_users / cohort_users) AS rate
FROM (
    SELECT app, totals.day AS cohort, value AS cohort_users, n, addDays(cohort, n) AS day
    FROM totals
    ARRAY JOIN range(31) AS n
    WHERE metric = 'new_users' AND facet = '' AND window = 'day'
) AS cohorts
INNER JOIN (
    SELECT app, max(dau.day) AS last_day
    FROM dau
    WHERE facet = ''
    GROUP BY app
) AS reached ON reached.app = cohorts.app
LEFT JOIN (
    SELECT app, totals.day AS cohort, toUInt8OrZero(substring(facet, 2)) AS n, value AS retained
    FROM totals
    WHERE metric = 'retained_users' AND window = 'day'
) AS again ON again.app = cohorts.app AND again.cohort = cohorts.cohort AND again.n = cohorts.n
WHERE cohorts.day <= reached.last_day;

CREATE OR REPLACE VIEW overlap {on_cluster} AS
SELECT both.app AS app, both.other AS other, both.month AS month, both.users AS overlap_users, monthly_users.mau AS mau,
    if(mau = 0, 0, overlap_users / mau) AS rate
FROM (
    SELECT app, substring(facet, 5) AS other, totals.day AS month, value AS users
    FROM totals
    WHERE metric = 'overlap_users' AND window = 'month'
) AS both
LEFT JOIN (
    SELECT app, mau.month AS month, mau.mau AS mau
    FROM mau
    WHERE facet = ''
) AS monthly_users ON monthly_users.app = both.app AND monthly_users.month = both.month;

CREATE OR REPLACE VIEW penetration {on_cluster} AS
SELECT seen.app AS app, seen.facet AS facet, seen.window AS window, seen.day AS day, seen.users AS active_users,
    known.population AS population, active_users / population AS penetration
FROM (
    SELECT app, facet, window, totals.day AS day, value AS users
    FROM totals
    WHERE metric = 'active_users' AND window IN ('day', '7d', '30d', 'month')
) AS seen
INNER JOIN (
    SELECT id, apps.population AS population
    FROM apps
    WHERE apps.population > 0
) AS known ON known.id = seen.app;

CREATE OR REPLACE VIEW facet_share {on_cluster} AS
SELECT part.app AS app, part.facet AS facet, splitByChar(':', facet)[1] AS kind, substring(facet, length(kind) + 2) AS item,
    part.window AS window, part.day AS day, part.users AS active_users, whole.users AS all_users,
    if(all_users = 0, 0, active_users / all_users) AS share
FROM (
    SELECT app, facet, window, totals.day AS day, value AS users
    FROM totals
    WHERE metric = 'active_users' AND window IN ('day', '7d', '30d', 'month') AND facet != ''
) AS part
LEFT JOIN (
    SELECT app, window, totals.day AS day, value AS users
    FROM totals
    WHERE metric = 'active_users' AND window IN ('day', '7d', '30d', 'month') AND facet = ''
) AS whole ON whole.app = part.app AND whole.window = part.window AND whole.day = part.day;

-- Top N of versions, channels, scenes and whatever else has facets; equal values have the same place.
CREATE OR REPLACE VIEW facet_rank {on_cluster} AS
SELECT app, kind, item, facet, window, day, active_users, share,
    rank() OVER (PARTITION BY app, kind, window, day ORDER BY active_users DESC) AS place
FROM facet_share;

CREATE OR REPLACE VIEW scene_penetration {on_cluster} AS
SELECT app, item AS scene, window, day, facet_share.active_users AS scene_users, facet_share.all_users AS active_users,
    share AS penetration
FROM facet_share
WHERE kind = 'scene';

-- Steps that nobody reached have no total: they are rows here all the same, as many as the plan has. Of a funnel that was taken out
-- of the plan, up to the last step that anybody ever reached.
CREATE OR REPLACE VIEW funnel {on_cluster} AS
SELECT entries.app AS app, entries.funnel AS funnel, entries.breakdown AS breakdown, entries.day AS day, step,
    entries.by_step[step] AS users, if(step = 1, users, entries.by_step[toUInt8(step - 1)]) AS previous_users,
    entries.by_step[toUInt8(1)] AS entered_users, if(entered_users = 0, 0, users / entered_users) AS conversion,
    if(previous_users = 0, 0, users / previous_users) AS step_conversion, previous_users - users AS drop_off
FROM (
    SELECT app, funnel, breakdown, day, CAST((groupArray(step), groupArray(users)), 'Map(UInt8, Int64)') AS by_step
    FROM (
        SELECT app, splitByChar(':', facet) AS parts, parts[1] AS funnel, toUInt8OrZero(parts[2]) AS step,
            arrayStringConcat(arraySlice(parts, 3), ':') AS breakdown, totals.day AS day, value AS users
        FROM totals
        WHERE metric = 'funnel_users' AND window = 'day'
    )
    GROUP BY app, funnel, breakdown, day
) AS entries
INNER JOIN (
    SELECT app, funnel, if(max(planned) > 0, max(planned), max(number)) AS steps
    FROM (
        SELECT app, splitByChar(':', facet)[1] AS funnel, toUInt8OrZero(splitByChar(':', facet)[2]) AS number, 0 AS planned
        FROM totals
        WHERE metric = 'funnel_users' AND window = 'day' AND value > 0
        UNION ALL
        SELECT app, id AS funnel, 0 AS number, plan_funnels.steps AS planned
        FROM plan_funnels FINAL
        WHERE NOT removed
    )
    GROUP BY app, funnel
) AS lengths ON lengths.app = entries.app AND lengths.funnel = entries.funnel
ARRAY JOIN arrayMap(one -> toUInt8(one), range(1, lengths.steps + 1)) AS step;

-- Times are told by buckets at most 3.2 % wide: the middle of its bucket stands for a time.
CREATE OR REPLACE VIEW funnel_time {on_cluster} AS
SELECT app, funnel, day, sum(persons) AS converted_users, quantileExactWeighted(0.5)(middle, toUInt64(persons)) AS median_seconds,
    quantileExactWeighted(0.9)(middle, toUInt64(persons)) AS p90_seconds
FROM (
    SELECT app, splitByChar(':', facet)[1] AS funnel, totals.day AS day, value AS persons,
        toFloat64OrZero(splitByChar(':', facet)[2]) AS bucket,
        bucket + if(bucket < 64, 1, exp2(floor(log2(greatest(bucket, 1))) - 5)) / 2 AS middle
    FROM totals
    WHERE metric = 'funnel_conversions' AND window = 'day' AND value > 0
)
GROUP BY app, funnel, day;

-- Users of a month are counted as such; what adds up over days is added up: nobody is new, resurrected or becomes dormant twice in a
-- month. Figures made of these are per day that the app had in the month (dau_average), and per active user of the month.
-- Their names are on the right side of the join: who asks for another number finds it empty, and reads no totals for them.
CREATE OR REPLACE VIEW monthly {on_cluster} AS
SELECT metric, app, facet, totals.day AS month, toFloat64(totals.value) AS value
FROM totals
WHERE window = 'month'
UNION ALL
SELECT metric, app, facet, toStartOfMonth(totals.day) AS month, toFloat64(sum(totals.value)) AS value
FROM totals
WHERE window = 'day' AND metric IN ('launches', 'usage_ms', 'sessions', 'new_users', 'resurrected_users', 'dormant_users')
GROUP BY metric, app, facet, month
UNION ALL
SELECT lived.metric AS metric, of_month.app AS app, of_month.facet AS facet, of_month.month AS month, part / whole AS value
FROM (
    SELECT app, facet, toStartOfMonth(totals.day) AS month, sumIf(totals.value, window = 'month') AS mau,
        sumIf(totals.value, metric = 'active_users' AND window = 'day') AS user_days, sumIf(totals.value, metric = 'usage_ms') AS usage,
        sumIf(totals.value, metric = 'launches') AS launches, sumIf(totals.value, metric = 'sessions') AS sessions
    FROM totals
    WHERE metric IN ('active_users', 'launches', 'usage_ms', 'sessions') AND window IN ('day', 'month')
    GROUP BY app, facet, month
) AS of_month
INNER JOIN (
    SELECT app, min(dau.day) AS first, max(dau.day) AS last, toLowCardinality(arrayJoin(['dau_average', 'stickiness',
        'launches_per_user', 'usage_ms_per_user', 'sessions_per_user', 'usage_ms_per_session'])) AS metric
    FROM dau
    WHERE facet = ''
    GROUP BY app
) AS lived ON lived.app = of_month.app
WHERE (multiIf(lived.metric = 'launches_per_user', launches, lived.metric = 'sessions_per_user', sessions,
        startsWith(lived.metric, 'usage_ms'), usage, user_days) AS part) > 0
    AND (least(toLastDayOfMonth(of_month.month), last) - greatest(of_month.month, first) + 1 AS days) > 0
    AND (multiIf(lived.metric = 'dau_average', days, lived.metric = 'stickiness', days * mau,
        lived.metric = 'usage_ms_per_session', sessions, mau) AS whole) > 0;

-- A month in which nobody was there any more is a row too: its change is -1.
CREATE OR REPLACE VIEW month_on_month {on_cluster} AS
SELECT both.metric AS metric, both.app AS app, both.facet AS facet, both.of AS month, both.this AS value, both.before AS previous,
    if(previous = 0, NULL, value / previous - 1) AS change, month >= reached.last_month AS unfinished
FROM (
    SELECT metric, app, facet, addMonths(monthly.month, after) AS of, sumIf(monthly.value, after = 0) AS this,
        sumIf(monthly.value, after > 0) AS before
    FROM monthly
    ARRAY JOIN [0, 1] AS after
    GROUP BY metric, app, facet, of
) AS both
INNER JOIN (SELECT app, max(monthly.month) AS last_month FROM monthly GROUP BY app) AS reached ON reached.app = both.app
WHERE both.of <= reached.last_month;

CREATE OR REPLACE VIEW year_on_year {on_cluster} AS
SELECT both.metric AS metric, both.app AS app, both.facet AS facet, both.of AS month, both.this AS value, both.before AS previous,
    if(previous = 0, NULL, value / previous - 1) AS change, month >= reached.last_month AS unfinished
FROM (
    SELECT metric, app, facet, addMonths(monthly.month, after) AS of, sumIf(monthly.value, after = 0) AS this,
        sumIf(monthly.value, after > 0) AS before
    FROM monthly
    ARRAY JOIN [0, 12] AS after
    GROUP BY metric, app, facet, of
) AS both
INNER JOIN (SELECT app, max(monthly.month) AS last_month FROM monthly GROUP BY app) AS reached ON reached.app = both.app
WHERE both.of <= reached.last_month;

-- Apps among each other, groups aside; equal values have the same rank.
CREATE OR REPLACE VIEW app_rank {on_cluster} AS
SELECT metric, facet, window, day, app, value, rank() OVER (PARTITION BY metric, facet, window, day ORDER BY value DESC) AS place
FROM (
    SELECT metric, facet, 'month' AS window, month AS day, app, value
    FROM monthly
    WHERE metric != 'overlap_users'
    UNION ALL
    SELECT metric, facet, totals.window AS window, totals.day AS day, app, toFloat64(totals.value) AS value
    FROM totals
    WHERE totals.window IN ('day', '7d', '30d') AND metric NOT IN ('retained_users', 'funnel_users', 'funnel_conversions')
)
WHERE app IN (SELECT id FROM apps WHERE kind = 'app');

-- The 28 days before the last one that the app has; an hour without anybody counts as 0, of a facet too. Hours that a change of the
-- clock leaves out are no quiet ones: the hours of a day are those that its clock shows.
CREATE OR REPLACE VIEW typical_hour_curve {on_cluster} AS
SELECT grid.app AS app, grid.facet AS facet, day_class, grid.hour AS hour, avg(hours.users) AS mean_users,
    medianExact(hours.users) AS median_users, count() AS days
FROM (
    SELECT shown.app AS app, facets.facet AS facet, shown.day AS day, shown.hour AS hour
    FROM (
        SELECT DISTINCT app, toDate(substring(clock, 1, 10)) AS day, toInt8(substring(clock, 12, 2)) AS hour
        FROM (
            SELECT reached.app AS app, days, toString(toDateTime(last_day - 30, 'UTC') + n * 3600, apps.time_zone) AS clock
            FROM (
                SELECT app, max(dau.day) AS last_day, groupUniqArray(dau.day) AS all_days,
                    arrayFilter(one -> one < last_day AND one >= last_day - 28, all_days) AS days
                FROM dau
                WHERE facet = ''
                GROUP BY app
            ) AS reached
            INNER JOIN apps ON apps.id = reached.app
            ARRAY JOIN range(32 * 24) AS n
        )
        WHERE has(days, day)
    ) AS shown
    INNER JOIN (
        SELECT DISTINCT app, facet
        FROM dau
    ) AS facets ON facets.app = shown.app
) AS grid
LEFT JOIN (
    SELECT app, facet, hourly_active_users.day AS day, hourly_active_users.hour AS hour, max(active_users) AS users
    FROM hourly_active_users
    GROUP BY app, facet, day, hour
) AS hours ON hours.app = grid.app AND hours.facet = grid.facet AND hours.day = grid.day AND hours.hour = grid.hour
ARRAY JOIN ['all', if(toDayOfWeek(grid.day) < 6, 'workday', 'weekend')] AS day_class
GROUP BY app, facet, day_class, hour;

CREATE OR REPLACE VIEW peak_today {on_cluster} AS
SELECT peaks.app AS app, peaks.facet AS facet, peaks.day AS day, peaks.peak_hour AS peak_hour, peaks.peak_users AS peak_users,
    peaks.day_users AS day_users, peaks.peak_share AS peak_share
FROM hourly_peak AS peaks
INNER JOIN apps ON apps.id = peaks.app
WHERE peaks.day = toDate(substring(toString(now(), apps.time_zone), 1, 10));

-- What was tracked, as it came: raw events of the last five weeks of receipt, so that no panel reads a year of them. The violation
-- '' is all events of that name and version; the others are parts of it. toString takes a zone that is no constant, toDate does not.
CREATE OR REPLACE VIEW tracked {on_cluster} AS
SELECT seen.app AS app, toDate(substring(toString(at, time_zone), 1, 10)) AS day, event, version, violation, count() AS events,
    uniqExact(person_hash) AS persons
FROM (
    SELECT app, events.at AS at, event, version, person_hash, violations
    FROM events FINAL
    WHERE type IN ('track', 'page', 'screen') AND received > (toInt64(toUnixTimestamp(now())) - 35 * 86400) * 1000
) AS seen
INNER JOIN apps ON apps.id = seen.app
ARRAY JOIN arrayConcat([''], violations) AS violation
GROUP BY app, day, event, version, violation;

CREATE OR REPLACE VIEW plan_violations {on_cluster} AS
SELECT app, day, event, version, splitByChar(':', violation)[1] AS rule, substring(violation, length(rule) + 2) AS property, events,
    persons, events / all_events AS share
FROM (
    SELECT app, tracked.day AS day, event, version, violation, events, persons,
        max(events) OVER (PARTITION BY app, day, event, version) AS all_events
    FROM tracked
)
WHERE violation != '';

-- The version since which a violation is there: the one that splits the versions so that the share after it exceeds the share
-- before it the most. Versions are in order of their numbers: 9.10 comes after 9.9.
CREATE OR REPLACE VIEW broken_tracking_points {on_cluster} AS
SELECT app, event, splitByChar(':', violation)[1] AS rule, substring(violation, length(rule) + 2) AS property,
    tupleElement(best, 2) AS since_version, tupleElement(best, 3) AS share_before, tupleElement(best, 4) AS share_after,
    tupleElement(best, 5) AS events_since, first_day, last_day
FROM (
    SELECT app, event, violation, argMax((0, version, before, after, events_since), (after - ifNull(before, 0), -place)) AS best,
        minIf(first_seen, broken > 0) AS first_day, maxIf(last_seen, broken > 0) AS last_day
    FROM (
        SELECT app, event, violation, version, broken, first_seen, last_seen, row_number() OVER earlier AS place,
            sum(broken) OVER later AS events_since, events_since / (sum(total) OVER later) AS after,
            if(place = 1, NULL, (sum(broken) OVER earlier - broken) / (sum(total) OVER earlier - total)) AS before
        FROM (
            SELECT kinds.app AS app, kinds.event AS event, kinds.violation AS violation, of_version.version AS version,
                arrayMap(part -> toUInt32OrZero(part), extractAll(version, '\\d+')) AS rank, of_version.total AS total,
                of_version.counts[violation] AS broken, of_version.first_days[violation] AS first_seen,
                of_version.last_days[violation] AS last_seen
            FROM (SELECT DISTINCT app, event, violation FROM tracked WHERE violation != '') AS kinds
            INNER JOIN (
                SELECT app, event, version, sumIf(events, violation = '') AS total, sumMap(map(violation, events)) AS counts,
                    minMap(map(violation, tracked.day)) AS first_days, maxMap(map(violation, tracked.day)) AS last_days
                FROM tracked
                GROUP BY app, event, version
            ) AS of_version ON of_version.app = kinds.app AND of_version.event = kinds.event
        )
        WINDOW earlier AS (PARTITION BY app, event, violation ORDER BY rank, version ROWS UNBOUNDED PRECEDING),
            later AS (PARTITION BY app, event, violation ORDER BY rank, version ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)
    )
    GROUP BY app, event, violation
);

-- By the day of the event: how long after it events came. What is beyond the plan's horizons is told by the worker and the API.
CREATE OR REPLACE VIEW event_delay {on_cluster} AS
SELECT seen.app AS app, toDate(substring(toString(at, time_zone), 1, 10)) AS day, version, count() AS events,
    countIf(delay > 3600) AS over_an_hour, countIf(delay > 86400) AS over_a_day, countIf(delay > 604800) AS over_a_week,
    quantileExact(0.5)(delay) AS median_seconds, quantileExact(0.95)(delay) AS p95_seconds
FROM (
    SELECT app, events.at AS at, version, greatest(0, (received - events.time) / 1000) AS delay
    FROM events FINAL
    WHERE received > (toInt64(toUnixTimestamp(now())) - 35 * 86400) * 1000
) AS seen
INNER JOIN apps ON apps.id = seen.app
GROUP BY app, day, version;
