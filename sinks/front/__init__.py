"""ClickHouse's HTTP interface in front of the embedded engine.

The engine belongs to the sinks' process; verify, status, Grafana and tests read through here with ClickHouse's ordinary clients.
Read-only, unless it is opened for tests of the insert path.
"""
