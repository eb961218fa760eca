"""The Faust worker: reads frames, keeps person records in a changelog, publishes totals. Thin I/O around streams.partition."""
