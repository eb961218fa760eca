"""Shell: the commands that run one stage until SIGTERM or Ctrl-C: collector, worker, sinks."""

from __future__ import annotations

import click

from deploy.entry import Source, load_settings, run_stage

EPILOG = """\b
Runs until SIGTERM or Ctrl-C, then stops cleanly. Health is at /health/ready and /health/live, metrics at /metrics,
on {door} of footfall.toml.
"""


@click.command(short_help="Run the HTTP collector.", epilog=EPILOG.format(door="collector.metrics_port"))
@click.pass_obj
def collector(source: Source) -> None:
    """Takes events from SDKs over HTTP and writes them to Kafka.

    Answers 200 only when the events are safe: acknowledged by Kafka or, while that is away, fsynced in the collector's spool.
    Run as many as you like behind a load balancer, each with a spool of its own. SIGHUP makes it read write keys, limits, origins
    and the plan of footfall.toml anew.
    """
    settings = load_settings(source)
    without_kafka = settings.collector.spool_bytes > 0
    run_stage("ingest.collector.main:run", settings, without_kafka, reread=lambda: load_settings(source))


@click.command(short_help="Run a stream worker.", epilog=EPILOG.format(door="worker.port"))
@click.pass_obj
def worker(source: Source) -> None:
    """Computes the numbers from the events, as they come.

    Workers share the partitions of the events topic among them: start another one, on any machine, to go faster
    (with worker.port = 0 if it is the same machine).
    """
    run_stage("streams.worker.main:run", load_settings(source))


@click.command(short_help="Run the sinks.", epilog=EPILOG.format(door="sinks.port"))
@click.pass_obj
def sinks(source: Source) -> None:
    """Writes raw events and numbers to ClickHouse, and shows the numbers to Prometheus.

    Without clickhouse.url it owns the embedded engine, and answers queries for it on sinks.clickhouse_port.
    """
    run_stage("sinks.main:run", load_settings(source))
