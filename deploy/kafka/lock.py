"""The lock of the broker's jars: which versions, and the sha256 sum that each file must have.

One jar a line, `group:artifact:version sha256:<64 hex digits>`; `#` starts a comment. There is no address in it: where jars are
had from is the business of the machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from ingest.contract.errors import ConfigError

_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_LINE = re.compile(rf"({_PART}):({_PART}):({_PART}) sha256:([0-9a-f]{{64}})")


class LockedJar(NamedTuple):
    """One jar: its Maven coordinates and the sum of its bytes."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """As Maven names the file."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def coordinates(self) -> str:
        """group:artifact:version."""
        return f"{self.group}:{self.artifact}:{self.version}"


def read_lock(text: str) -> list[LockedJar]:
    """The jars of a lock in its order. Raises ConfigError that names a line which is none, or a file that is there twice."""
    jars: list[LockedJar] = []
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.split("#", 1)[0].strip()
        if not content:
            continue
        match = _LINE.fullmatch(content)
        if match is None:
            raise ConfigError(
                f"jars.lock, line {number}: expected `group:artifact:version sha256:<64 hex digits>`, found {content!r}"
            )
        jars.append(LockedJar(*match.groups()))
    names = [jar.file_name for jar in jars]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not jars:
        raise ConfigError(f"jars.lock: {twice[0]} is locked twice" if twice else "jars.lock: no jars in it")
    return jars


def write_lock(jars: Iterable[LockedJar]) -> str:
    """The text of a lock."""
    lines = [f"{jar.coordinates} sha256:{jar.sha256}" for jar in sorted(jars)]
    return "\n".join(["# The jars of the local broker. Written by `python -m deploy.kafka.relock`.", *lines, ""])
