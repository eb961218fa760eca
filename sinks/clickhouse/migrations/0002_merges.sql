-- Ids that became part of another person, as the worker granted it: once, and for good. Events keep the id as sent, so whoever
-- counts persons in raw events goes through this table first, from target to target.
CREATE TABLE IF NOT EXISTS person_merges {on_cluster} (
    person String CODEC(ZSTD(1)),
    target String CODEC(ZSTD(1)),
    at Int64 CODEC(Delta(8), ZSTD(1)) COMMENT 'ms UTC, when it was granted',
    clock Int64 CODEC(Delta(8), ZSTD(1)) COMMENT 'ms UTC, newest receipt that the partition of the person had seen then',
    partition Int32 CODEC(T64, ZSTD(1)),
    offset UInt64 CODEC(Delta(8), ZSTD(1)),
    granted_at DateTime64(3, 'UTC') ALIAS fromUnixTimestamp64Milli(at, 'UTC')
)
ENGINE = {engine:ReplacingMergeTree(offset)}
ORDER BY person
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
