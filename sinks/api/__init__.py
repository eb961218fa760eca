"""The read-only HTTP API: the same numbers as the views, as JSON, CSV and Parquet, and live as server-sent events."""
