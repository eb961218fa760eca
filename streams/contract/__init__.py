"""What the later stages may know of streams: the totals it publishes and the catalogue of metrics. Pure."""
