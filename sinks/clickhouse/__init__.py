"""ClickHouse: one client for a server over HTTP or the embedded engine, the schema, and what moves Kafka's records into it."""
