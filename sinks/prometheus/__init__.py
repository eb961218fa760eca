"""The Prometheus exporter: folds the metrics topic into current totals and exposes them as gauges, with the pipeline's health."""
