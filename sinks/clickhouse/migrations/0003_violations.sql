-- What the collector found wrong with an event by the tracking plan: each `rule` or `rule:property`.
ALTER TABLE events {on_cluster} ADD COLUMN IF NOT EXISTS violations Array(LowCardinality(String)) CODEC(ZSTD(1));
