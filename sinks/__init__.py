"""Sinks: write raw events and totals into ClickHouse, expose them to Prometheus. `sinks.contract` is its face."""
