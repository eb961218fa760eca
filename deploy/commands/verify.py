"""Shell: `footfall verify`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click

from deploy.entry import Source, entry, load_settings, with_broker
from sinks.contract.verified import VERIFIED_FILE, Verified, encode_verified


@click.command(
    short_help="Recompute the numbers from the raw events and compare.",
    epilog="\b\nExamples:\n  footfall verify\n  footfall verify --truth var/truth.jsonl\n",
)
@click.option(
    "--truth",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The numbers that must come out, from `footfall simulate --truth`.",
)
@click.option(
    "--wait", type=click.FloatRange(0, 86_400), default=30, show_default=True, help="Seconds to let the pipeline come to rest."
)
@click.pass_obj
def command(source: Source, truth: Path | None, wait: float) -> None:
    """Compares what the stream computed with SQL over the raw events, and with the simulator's truth.

    While events come in, only windows that have ended are compared. Exit code 1 if there is a difference, or nothing to
    compare.
    """
    settings = with_broker(load_settings(source.or_demo(True)))
    report = entry("sinks.verify.main:verify")(settings, truth, wait)
    click.echo(str(report))
    if sum(report.compared.values()):
        _leave_word(Path(settings.data_dir), report)
    if not report.ok:
        raise SystemExit(1)


def _leave_word(data_dir: Path, report: Any) -> None:
    """For the sinks' exporter; a report that compared nothing says nothing."""
    path = data_dir / VERIFIED_FILE
    verified = Verified(at=time.time_ns() // 1_000_000, compared=sum(report.compared.values()), different=report.different)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_bytes(encode_verified(verified))
    os.replace(beside, path)
