"""The live table as text: for a terminal through rich, and as plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from deploy.up.numbers import FunnelLine, Row

HEADINGS = ("App", "Now (5m)", "This hour", "DAU", "MAU", "Launches/user", "Min/user", "Peak hour today")
NONE = "-"


def whole(value: int | None) -> str:
    """1,234"""
    return NONE if value is None else f"{value:,}"


def decimal(value: float | None) -> str:
    """1.23"""
    return NONE if value is None else f"{value:.2f}"


def cells(row: Row) -> tuple[str, ...]:
    """The texts of one row, in the order of HEADINGS."""
    peak = NONE if row.peak_hour is None else f"{row.peak_hour:02}:00  {whole(row.peak_users)}"
    return (
        row.title,
        whole(row.now),
        whole(row.hour),
        whole(row.day),
        whole(row.month),
        decimal(row.launches_per_user()),
        decimal(row.minutes_per_user()),
        peak,
    )


def funnel_text(line: FunnelLine) -> str:
    """Transfer today: app_launch 120 > login 96 (80%) > ..."""
    first = line.reached[0] if line.reached else 0
    parts = []
    for number, (step, count) in enumerate(zip(line.steps, line.reached, strict=True)):
        share = f" ({count / first:.0%})" if number and first else ""
        parts.append(f"{step} {count:,}{share}")
    return f"{line.title} today: " + " > ".join(parts)


def live(rows: Sequence[Row], funnels: Sequence[FunnelLine], status: str) -> Group:
    """What the terminal shows."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == HEADINGS[0] else "right", no_wrap=True)
    for row in rows:
        table.add_row(*cells(row))
    return Group(table, *(Text(funnel_text(line)) for line in funnels), Text(status, style="dim"))


def plain(rows: Sequence[Row], funnels: Sequence[FunnelLine], status: str) -> list[str]:
    """The same as lines, for a log."""
    table = [HEADINGS, *(cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEADINGS))]
    lines = []
    for line in table:
        first, *rest = (
            text.ljust(width) if not column else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        lines.append("  ".join([first, *rest]).rstrip())
    return [*lines, *(funnel_text(line) for line in funnels), status]
