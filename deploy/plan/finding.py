"""What is found in a plan."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """error: numbers or events would be wrong; warning: probably not meant; note: to be known. where is a path into the plan."""

    level: Literal["error", "warning", "note"]
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.level:<8} {self.where}: {self.what}"


def error(where: str, what: str) -> Finding:
    """A finding that must be mended."""
    return Finding("error", where, what)


def warning(where: str, what: str) -> Finding:
    """A finding that one should look at."""
    return Finding("warning", where, what)


def note(where: str, what: str) -> Finding:
    """A finding that is in order."""
    return Finding("note", where, what)
