-- The plan's funnels and how many steps they have: totals alone do not know of steps that nobody has ever reached.
CREATE TABLE IF NOT EXISTS plan_funnels {on_cluster} (
    id String,
    app String,
    steps UInt8,
    removed Bool,
    written Int64 COMMENT 'ms UTC',
    version UInt64 MATERIALIZED toUInt64(written)
)
ENGINE = {engine:ReplacingMergeTree(version)}
ORDER BY (id, app);
