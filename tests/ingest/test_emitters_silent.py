"""Emitters and servers that take everything and never answer: reports and `close` keep their time."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.kafka.broker import LocalBroker
from deploy.kafka.topics import create_topics
from ingest import Emitter, EmitterOptions, HttpEmitter
from ingest.contract.errors import UnavailableError
from ingest.emit.base import BaseEmitter
from tests.ingest.conftest import settings_on
from tests.ingest.silent import Silent

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

Make = Callable[[EmitterOptions], BaseEmitter]


@pytest.fixture
def silent() -> Iterator[Silent]:
    server = Silent()
    yield server
    server.close()


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[LocalBroker]:
    """A broker that a test may freeze."""
    broker = LocalBroker(tmp_path / "var")
    broker.start()
    yield broker
    os.kill(broker.pid, signal.SIGCONT)
    broker.stop()


@pytest.fixture(params=["kafka", "http", "frozen"])
def into_silence(request: pytest.FixtureRequest, silent: Silent) -> Iterator[Make]:
    """Makes emitters to a server that does not answer; `frozen` is a broker that did until after the first event."""
    emitters: list[BaseEmitter] = []

    def made(options: EmitterOptions) -> BaseEmitter:
        if request.param == "http":
            emitter: BaseEmitter = HttpEmitter(f"http://127.0.0.1:{silent.port}", "SA_TOKEN", options)
        elif request.param == "kafka":
            emitter = Emitter(settings_on(f"127.0.0.1:{silent.port}", "silent"), "bank", options)
        else:
            broker: LocalBroker = request.getfixturevalue("frozen")
            settings = settings_on(broker.bootstrap, "emitter-frozen")
            create_topics(settings)
            emitter = Emitter(settings, "bank", options)
            first = emitter.emit("e", user_id="1")
            with contextlib.suppress(UnavailableError):  # where the first connection takes longer than the event has
                first.result(60)
            os.kill(broker.pid, signal.SIGSTOP)
        emitters.append(emitter)
        return emitter

    yield made
    for emitter in emitters:
        with contextlib.suppress(UnavailableError):
            emitter.close(0)


def test_a_server_that_never_answers_holds_up_no_report(into_silence: Make) -> None:
    emitter = into_silence(EmitterOptions(delivery_timeout_s=2, batch_events=10))
    failed = emitter.failed
    reports = [emitter.emit("e", user_id=str(number)) for number in range(30)]
    until = time.monotonic() + 4
    words = []
    for report in reports:
        with pytest.raises(UnavailableError, match="not delivered in time") as told:
            report.result(until - time.monotonic())
        words.append(str(told.value))
    assert "may or may not have arrived" in words[0]
    assert "it was not sent" in words[-1]
    emitter.flush(1)
    assert (emitter.failed - failed, emitter.buffered) == (30, 0)
    emitter.close(5)


def test_closing_takes_no_longer_than_it_may_and_leaves_no_report_open(into_silence: Make) -> None:
    emitter = into_silence(EmitterOptions(batch_events=10))
    reports = [emitter.emit("e", user_id=str(number)) for number in range(30)]
    time.sleep(0.5)
    started = time.monotonic()
    with pytest.raises(UnavailableError, match="30 events were not delivered"):
        emitter.close(0.5)
    assert time.monotonic() - started < 2
    assert all(report.done() for report in reports)
    assert "was closed" in str(reports[0].exception())
    assert "may or may not have arrived" in str(reports[0].exception())
    assert "it was not sent" in str(reports[-1].exception())
    assert emitter.buffered == 0


def test_a_closed_emitter_lets_go_of_a_silent_server(silent: Silent) -> None:
    emitter = HttpEmitter(f"http://127.0.0.1:{silent.port}", "SA_TOKEN")
    emitter.emit("e", user_id="1")
    time.sleep(0.5)
    with pytest.raises(UnavailableError):
        emitter.close(0)
    (taken,) = silent.taken
    taken.settimeout(5)
    while taken.recv(65536):  # what was sent, then the end
        pass
    assert len(silent.taken) == 1, "it was sent again for nobody"
