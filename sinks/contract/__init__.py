"""What the later stages may know of sinks: table and view names, gauge names, where a reader finds ClickHouse. Pure."""
