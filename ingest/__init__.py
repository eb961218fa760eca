"""Ingest: takes events from SDKs and writes them to Kafka. `ingest.contract` is all that later stages may import."""
