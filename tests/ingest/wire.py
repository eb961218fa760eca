"""A collector as the process that users run, and captured requests sent to it byte for byte."""

from __future__ import annotations

import base64
import contextlib
import http.client
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ingest.contract.settings import Settings
from tests.ingest.conftest import APPS
from tests.ingest.running import ask

ROOT = Path(__file__).parents[2]
#: What belongs to the connection, not to the request.
_DROPPED = {"host", "content-length", "connection", "transfer-encoding", "accept-encoding"}


@contextlib.contextmanager
def collector_process(settings: Settings, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`footfall collector` with the tests' apps, ready, by the footfall.toml in the folder; it must end cleanly when told to."""
    toml = folder / "footfall.toml"
    kafka, collector = settings.kafka, settings.collector
    toml.write_text(
        f'[kafka]\nbootstrap_servers = "{kafka.bootstrap_servers}"\npartitions = {kafka.partitions}\n'
        f'topic_prefix = "{kafka.topic_prefix}"\n'
        f"[collector]\nport = {collector.port}\nmetrics_port = {collector.metrics_port}\n{APPS}"
    )
    command = [sys.executable, "-m", "deploy.cli", "--config", str(toml), "collector"]
    with (folder / "collector.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env={"PYTHONPATH": str(ROOT)})
    try:
        _wait_until_ready(process, collector.port, folder)
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, (folder / "collector.log").read_text()[-3000:]
    finally:
        process.kill()
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    until = time.monotonic() + 180
    while True:
        with contextlib.suppress(OSError):
            if ask(port, "/health/ready").status == 200:
                return
        assert process.poll() is None, (folder / "collector.log").read_text()[-3000:]
        assert time.monotonic() < until, "the collector is not ready after a minute"
        time.sleep(0.1)


class Wire:
    """A connection to a collector, on which captured requests are sent again."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._host = f"127.0.0.1:{port}"

    def send(self, request: dict[str, Any]) -> int:
        """Sends a captured request as it was, and gives the status."""
        connection = self._connection
        body = base64.b64decode(request["body_base64"])
        address = request["path"] + (f"?{request['query']}" if request["query"] else "")
        connection.putrequest(request["method"], address, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", self._host)
        for name, value in request["headers"]:
            if name.lower() not in _DROPPED:
                connection.putheader(name, value if value.isascii() else value.encode())
        if request["method"] in ("POST", "PUT"):
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body or None)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()
