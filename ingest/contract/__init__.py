"""What the later stages may know of ingest: events and frames, partitioning, time zones, the plan, settings, topics, errors.

Pure: no clock, no environment, no Kafka, no ClickHouse.
"""
