"""What the command line says of rejected rows. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from deploy.rejected.mending import MENDING, UNKNOWN
from deploy.rejected.rows import Found, Group
from ingest.contract.rejected import Prospect, payload_of

_WIDE = 100
_MAX_PAYLOAD = 4000


def listed(groups: Sequence[Group], since: int) -> str:
    """A table of what there is."""
    if not groups:
        return f"nothing was rejected since {instant(since)}"
    rows = [("STAGE", "REASON", "APP", "ROWS", "SENT AGAIN", "LAST", "ID", "DETAIL OF THE LAST ONE")]
    for one in groups:
        detail = printable(one.detail)
        cut = detail if len(detail) <= _WIDE else detail[: _WIDE - 1] + "…"
        rows.append(
            (one.stage, one.reason, one.app or "-", f"{one.rows:,}", f"{one.sent_again:,}", instant(one.last), one.latest, cut)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    total = sum(one.rows for one in groups)
    return "\n".join([*lines, "", f"{total:,} rows since {instant(since)}; `footfall rejected explain <id>` tells of one"])


def explained(found: Found) -> str:
    """All there is to say of one row."""
    row = found.row
    lines = [
        f"id         {found.id}",
        f"when       {instant(row.at)}",
        f"stage      {row.stage}",
        f"reason     {row.reason}",
        f"what       {printable(row.detail)}",
        f"app        {row.app or '- (no key of the plan)'}",
    ]
    if row.partition >= 0:
        lines.append(f"where      {row.topic}, partition {row.partition}, offset {row.offset}, line {row.line}")
    lines += [f"context    {name} = {printable(value)}" for name, value in sorted(row.context.items())]
    lines.append(f"sent again {'yes: an event came of it' if found.sent_again else 'no'}")
    lines.append(f"to mend    {MENDING.get(row.reason, UNKNOWN)}")
    payload = payload_of(row)
    words = f"payload    {len(payload):,} bytes{', only the beginning was kept' if row.truncated else ''}"
    if row.encoding == "base64":
        return "\n".join([*lines, f"{words}, no text: `--payload` writes them out"])
    text = row.payload if len(row.payload) <= _MAX_PAYLOAD else row.payload[:_MAX_PAYLOAD] + "…"
    return "\n".join([*lines, words, printable(text)])


def foreseen(prospects: Sequence[Prospect]) -> str:
    """What would become of rows that are sent again."""
    good = [one for one in prospects if one.request is not None]
    lines = [f"{len(good):,} of {len(prospects):,} rows would be taken now: {sum(one.events for one in good):,} events"]
    partly = sum(1 for one in good if one.why)
    if partly:
        lines.append(f"{partly:,} of these would be taken in part")
    reasons = Counter(one.why for one in prospects if one.request is None)
    lines += [f"{count:,} not: {printable(why)[:300]}" for why, count in reasons.most_common(20)]
    return "\n".join(lines)


def instant(ms: int) -> str:
    """An instant in UTC, to the second."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def printable(text: str) -> str:
    """What somebody sent, for a terminal: control characters (other than line breaks and tabs) would steer it."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)
