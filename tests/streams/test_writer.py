"""Whoever takes a partition fences whoever had it, on a real broker."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from deploy.kafka.topics import create_topics
from ingest.contract.settings import Settings


@pytest.mark.broker
def test_a_writer_whose_partition_was_taken_over_is_fenced_and_writes_nothing(settings: Settings) -> None:
    create_topics(settings)
    told = subprocess.run(
        [sys.executable, "-m", "tests.streams.fencing"],
        input=msgspec.json.encode(settings),
        capture_output=True,
        timeout=60,
        check=False,
    )
    # the marker of the first transaction lies between the two offsets, and nothing else
    assert told.stdout.decode().split("\n")[:3] == ["0", "partition 0 was taken over by another worker", "2"], told.stderr
