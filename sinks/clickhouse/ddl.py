"""Renders the schema's SQL: what differs between one server (or the embedded engine) and a cluster is injected here alone.

In the SQL files `{on_cluster}` stands for the cluster clause and `{engine:Family(arguments)}` for a table's engine.
How tables lie on a cluster is in sinks.clickhouse.topology.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from ingest.contract.errors import ConfigError
from sinks.clickhouse.topology import Topology

_ENGINE = re.compile(r"\{engine:(\w+)\(([^)]*)\)\}")
_TABLE = re.compile(r"^((?:CREATE TABLE IF NOT EXISTS|ALTER TABLE)\s+)(\w+)\b")
_COLUMNS = re.compile(r"\b(ADD|DROP|RENAME|MODIFY|COMMENT) COLUMN\b")
_NAME = re.compile(r"^(\d{4})_([a-z0-9_]+)\.sql$")


class Migration(NamedTuple):
    """One numbered file: what it is called, its text, and the checksum of that text before rendering."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return checksum(self.text)


def checksum(text: str) -> str:
    """SHA-256 of a file's text, line ends aside."""
    return hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()


def migrations_of(files: dict[str, str]) -> list[Migration]:
    """The numbered migrations among files (name -> text), in order. ConfigError for a gap or a number that comes twice."""
    found = []
    for name, text in files.items():
        match = _NAME.match(name)
        if match:
            found.append(Migration(int(match[1]), match[2], text))
    found.sort()
    for expected, one in enumerate(found, start=1):
        if one.number != expected:
            raise ConfigError(f"migrations must be numbered 1, 2, 3 ...: {one.number:04}_{one.name}.sql is not {expected:04}")
    return found


def statements(text: str, topology: Topology) -> list[str]:
    """The statements of a SQL file (each ends with a semicolon at a line's end), rendered, comments taken out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    found: list[str] = []
    for one in re.split(r";[ \t]*(?:\n|$)", "\n".join(lines)):
        if one.strip():
            found += _rendered(one.strip(), topology)
    return found


def _rendered(statement: str, topology: Topology) -> list[str]:
    """One statement of the file as one or two for the servers."""
    match = _TABLE.match(statement)
    table = match[2] if match else ""
    made = _ENGINE.sub(lambda found: topology.engine(table, found[1], found[2]), statement)
    held = topology.held(table)
    if match is None or held == table:
        return [made.replace("{on_cluster}", topology.on_cluster())]
    local = f"{match[1]}{held}{made[match.end() :]}"
    if match[1].startswith("CREATE"):
        over = f"CREATE TABLE IF NOT EXISTS {table} {{on_cluster}} AS {held} ENGINE = {topology.distributed(table)}"
        both = [local, over]
    elif _COLUMNS.search(statement):
        both = [local, made]  # the table that is asked has the same columns as those that hold the rows
    else:
        both = [local]
    return [one.replace("{on_cluster}", topology.on_cluster()) for one in both]


def to_apply(known: dict[int, tuple[str, str]], migrations: list[Migration]) -> list[Migration]:
    """Which migrations are still to be applied, given number -> (name, checksum) of those that were.

    ConfigError when one that was applied has changed since, or when the database is ahead of this program.
    """
    for number in sorted(known):
        if number > len(migrations):
            raise ConfigError(
                f"the database is ahead: it has migration {number:04}_{known[number][0]}, this program knows {len(migrations)}. "
                "Use the newer program"
            )
    for one in migrations:
        if one.number in known and known[one.number][1] != one.checksum:
            raise ConfigError(
                f"migration {one.number:04}_{one.name}.sql changed after it was applied: put it back and write a new one instead"
            )
    return [one for one in migrations if one.number not in known]
