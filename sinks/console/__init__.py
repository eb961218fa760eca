"""The console: one page with live numbers for those who have no Grafana yet, and the door that serves it and the API."""
