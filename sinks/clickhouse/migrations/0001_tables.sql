-- Events as they came. Field names are those of the JSON lines, so that frames go in as they are; unknown fields are skipped.
-- Partitioned by month of receipt, because then one INSERT of one Kafka partition is one part: all of it or nothing.
-- The sorting key is the event's identity: a row sent twice is one row after a merge, and at once with FINAL. (id, time): a copy
-- that was sent again with another clock keeps the time that the stream saw.
CREATE TABLE IF NOT EXISTS events {on_cluster} (
    id String CODEC(ZSTD(1)),
    app LowCardinality(String),
    person String CODEC(ZSTD(1)),
    event LowCardinality(String),
    type LowCardinality(String) DEFAULT 'track',
    time Int64 CODEC(Delta(8), ZSTD(1)) COMMENT 'ms UTC',
    received Int64 CODEC(Delta(8), ZSTD(1)) COMMENT 'ms UTC',
    device_time Int64 CODEC(Delta(8), ZSTD(1)) COMMENT 'ms UTC, 0: not told',
    sent Int64 CODEC(Delta(8), ZSTD(1)) COMMENT 'ms UTC, 0: not told',
    platform LowCardinality(String),
    version LowCardinality(String),
    channel LowCardinality(String),
    duration Int64 CODEC(T64, ZSTD(1)) COMMENT 'ms up to time, 0: none',
    props JSON(max_dynamic_paths = 256),
    context JSON(max_dynamic_paths = 64),
    ids Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    merge Tuple(source String, target String, how LowCardinality(String)),
    protocol LowCardinality(String) DEFAULT 'native',
    lib LowCardinality(String),
    lib_version LowCardinality(String),
    raw String CODEC(ZSTD(3)),
    at DateTime64(3, 'UTC') MATERIALIZED fromUnixTimestamp64Milli(time, 'UTC') CODEC(Delta(8), ZSTD(1)),
    received_at DateTime64(3, 'UTC') ALIAS fromUnixTimestamp64Milli(received, 'UTC'),
    device_at DateTime64(3, 'UTC') ALIAS fromUnixTimestamp64Milli(device_time, 'UTC'),
    sent_at DateTime64(3, 'UTC') ALIAS fromUnixTimestamp64Milli(sent, 'UTC'),
    person_hash UInt64 MATERIALIZED cityHash64(person) CODEC(ZSTD(1)),
    -- The greater, the earlier received: of the copies of an event the first one stays, since a later one may be too late.
    earliest UInt64 MATERIALIZED toUInt64(4102444800000 - received) CODEC(Delta(8), ZSTD(1)),
    -- Whence the row came: the sink names topic, partition and last offset of the batch in the INSERT's log_comment.
    kafka_topic LowCardinality(String) DEFAULT splitByChar('|', getSetting('log_comment'))[1],
    kafka_partition Int32 DEFAULT toInt32OrZero(splitByChar('|', getSetting('log_comment'))[2]) CODEC(T64, ZSTD(1)),
    kafka_offset Int64 DEFAULT toInt64OrZero(splitByChar('|', getSetting('log_comment'))[3]) CODEC(Delta(8), ZSTD(1)),
    INDEX by_time time TYPE minmax GRANULARITY 1,
    INDEX by_offset kafka_offset TYPE minmax GRANULARITY 1,
    INDEX by_id id TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = {engine:ReplacingMergeTree(earliest)}
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(received, 'UTC'))
PRIMARY KEY (app, toDate(at), event, person_hash)
ORDER BY (app, toDate(at), event, person_hash, id, time)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Totals as streams publishes them; version is the offset in the metrics topic, so the last one wins whoever writes it again.
CREATE TABLE IF NOT EXISTS metrics {on_cluster} (
    metric LowCardinality(String),
    app LowCardinality(String),
    facet LowCardinality(String),
    window LowCardinality(String),
    start Int64 CODEC(Delta(8), ZSTD(1)) COMMENT 'ms UTC, 0 for 5m and 30m',
    day Date CODEC(Delta(2), ZSTD(1)),
    hour Int8,
    layout LowCardinality(String),
    partition Int32 CODEC(T64, ZSTD(1)),
    value Int64 CODEC(T64, ZSTD(1)),
    at Int64 CODEC(Delta(8), ZSTD(1)) COMMENT 'ms UTC, when it was computed',
    version UInt64 CODEC(Delta(8), ZSTD(1))
)
ENGINE = {engine:ReplacingMergeTree(version)}
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(start, 'UTC'))
ORDER BY (metric, app, facet, window, start, layout, partition)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What could not be accepted. The same line rejected twice (a worker's replay) is one row; what never reached Kafka (partition -1)
-- is told apart by its place in the rejected topic.
CREATE TABLE IF NOT EXISTS rejected {on_cluster} (
    at Int64 CODEC(Delta(8), ZSTD(1)) COMMENT 'ms UTC',
    stage LowCardinality(String),
    reason LowCardinality(String),
    detail String CODEC(ZSTD(3)),
    app LowCardinality(String),
    topic LowCardinality(String),
    partition Int32 DEFAULT -1,
    offset Int64 DEFAULT -1,
    line Int32 DEFAULT -1,
    payload String CODEC(ZSTD(3)),
    encoding LowCardinality(String) DEFAULT 'utf-8',
    truncated Bool,
    context Map(LowCardinality(String), String) CODEC(ZSTD(3)),
    rejected_at DateTime64(3, 'UTC') ALIAS fromUnixTimestamp64Milli(at, 'UTC'),
    kafka_topic LowCardinality(String),
    kafka_partition Int32,
    kafka_offset Int64 CODEC(Delta(8), ZSTD(1)),
    place Int64 MATERIALIZED if(partition < 0, kafka_offset, -1)
)
ENGINE = {engine:ReplacingMergeTree()}
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(at, 'UTC'))
ORDER BY (stage, topic, partition, offset, line, place)
TTL toDateTime(fromUnixTimestamp64Milli(at, 'UTC')) + INTERVAL 30 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- The plan's apps and groups, written anew when the plan changes: read the view `apps`.
CREATE TABLE IF NOT EXISTS plan_apps {on_cluster} (
    id String,
    name String,
    time_zone String,
    population UInt64,
    kind LowCardinality(String),
    removed Bool,
    written Int64 COMMENT 'ms UTC',
    version UInt64 MATERIALIZED toUInt64(written)
)
ENGINE = {engine:ReplacingMergeTree(version)}
ORDER BY id;

-- Layouts that were in use, and since when: the newest is the current one.
CREATE TABLE IF NOT EXISTS layouts {on_cluster} (
    layout String,
    since Int64 COMMENT 'ms UTC'
)
ENGINE = {engine:ReplacingMergeTree()}
ORDER BY (since, layout);

-- Which topic (by Kafka's own id) the offsets in the tables are of: a topic created anew starts at offset 0 again.
CREATE TABLE IF NOT EXISTS topics {on_cluster} (
    scope String,
    topic String,
    topic_id String,
    seen Int64 COMMENT 'ms UTC'
)
ENGINE = {engine:ReplacingMergeTree()}
ORDER BY scope;
