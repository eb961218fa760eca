"""The collector's process: HTTP in, Kafka out. What is done with a request in between is in `ingest.intake`."""
