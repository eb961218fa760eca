"""Small pieces of SQL: quoted names and texts, local days and their instants, properties of events. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from ingest.contract.plan import FunnelStep

#: How the JSON column keeps what an event has as a text, a whole number or yes/no.
_SCALARS = "('String', 'Int64', 'UInt64', 'Bool')"


def text(value: str) -> str:
    """A SQL string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def texts(values: Iterable[str]) -> str:
    """SQL string literals, for IN or an array."""
    return ", ".join(text(value) for value in values)


def among(salt: str, column: str, values: Iterable[str]) -> str:
    """Whether a column is one of some values, without saying which: ClickHouse keeps the texts of statements for a while.

    salt: hex digits made up for the occasion.
    """
    digests = texts(hashlib.sha256(f"{salt}{value}".encode("utf-8", "surrogatepass")).hexdigest() for value in values)
    return f"lower(hex(SHA256(concat({text(salt)}, {column})))) IN ({digests})"


def name(value: str) -> str:
    """A SQL identifier, quoted."""
    return "`" + value.replace("\\", "\\\\").replace("`", "\\`") + "`"


def local(column: str, zone: str) -> str:
    """An instant (ms) as a local clock."""
    return f"fromUnixTimestamp64Milli({column}, {text(zone)})"


def day(column: str, zone: str) -> str:
    """The local date of an instant, as days since 1970."""
    return f"toInt32(toDate32({local(column, zone)}))"


def midnight(day_number: str, zone: str) -> str:
    """The instant (ms) at which a local day begins."""
    return f"toInt64(toUnixTimestamp(toDateTime(toDate({day_number}), {text(zone)}))) * 1000"


def month_of(day_number: str) -> str:
    """The first day of a day's month, as days since 1970."""
    return f"toInt32(toStartOfMonth(toDate({day_number})))"


def prop(path: str) -> str:
    """The column of a property: a name with dots is the same as nesting, the first that is not null counts, and an object is none
    (which is the rule of streams.facets.property_reader, too)."""
    return f"props.{name(path)}"


def is_scalar(path: str) -> str:
    """Whether an event has a property that can be compared as text."""
    return f"dynamicType({prop(path)}) IN {_SCALARS}"


def is_step(step: FunnelStep) -> str:
    """Whether an event is a step of a funnel: its name, and its properties as text."""
    parts = [f"event = {text(step.event)}"]
    for path, value in step.where.items():
        wanted = value if isinstance(value, str) else str(value).lower()
        parts.append(f"({is_scalar(path)} AND toString({prop(path)}) = {text(wanted)})")
    return f"({' AND '.join(parts)})"
