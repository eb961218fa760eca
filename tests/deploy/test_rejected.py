"""What the command line says of rejected rows."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

import streams.partition
from deploy.commands.rejected import Span
from deploy.rejected.mending import MENDING
from deploy.rejected.report import explained, listed
from deploy.rejected.rows import Found, Group
from ingest.contract.rejected import Rejected
from ingest.reasons import Reason


def test_every_reason_of_the_collector_can_be_mended_or_is_explained() -> None:
    assert not {str(reason) for reason in Reason} - set(MENDING)


def test_so_can_every_reason_of_the_worker_and_of_the_sinks() -> None:
    source = (Path(streams.partition.__file__)).read_text()
    worker = set(re.findall(r'"(\w+)", (?:line\.reason|str\(error\)|f["\'])', source))
    assert worker == {"bad_line", "bad_merge", "wrong_partition", "received_in_future", "unknown_app"}
    assert not (worker | {"clickhouse_refused"}) - set(MENDING)


def test_control_characters_of_a_payload_do_not_reach_the_terminal() -> None:
    row = Rejected(
        at=0, stage="worker", reason="new_one", detail="a\x1b[2J", topic="t", partition=1, offset=2, line=0, payload="\x07"
    )
    told = explained(Found("0" * 16, row, True))
    assert "\x1b" not in told
    assert "\x07" not in told
    assert "where      t, partition 1, offset 2, line 0" in told
    assert "No advice is known" in told
    binary = Rejected(at=0, stage="collector", reason="bad_encoding", detail="", payload="AAE=", encoding="base64")
    assert "2 bytes, no text: `--payload` writes them out" in explained(Found("0" * 16, binary, False))


def test_a_list_is_a_table() -> None:
    one = Group("collector", "plan", "bank", 1200, 3, 1_795_330_000_000, "ab" * 8, "x" * 500)
    lines = listed([one], 0).splitlines()
    assert lines[0].split()[:3] == ["STAGE", "REASON", "APP"]
    assert "1,200" in lines[1]
    assert len(lines[1]) < 250
    assert listed([], 0) == "nothing was rejected since 1970-01-01 00:00:00Z"


@pytest.mark.parametrize(("text", "ms"), [("30m", 1_800_000), ("24h", 86_400_000), ("7d", 604_800_000)])
def test_spans(text: str, ms: int) -> None:
    assert Span().convert(text, None, None) == ms
    for bad in ("0d", "1", "d", "1w", "٣d"):
        with pytest.raises(click.BadParameter):
            Span().convert(bad, None, None)
