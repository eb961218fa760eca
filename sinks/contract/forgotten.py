"""How rows that hold an id are found again among what was rejected. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

#: An id as long as this is looked for in any text; a shorter one only where it stands as a JSON string of its own.
_LONG = 8

#: Ids of the rejected rows whose payload, as text or base64, or context has one of {needles:Array(String)}.
FIND_REJECTED = (
    "SELECT id FROM rejected FINAL WHERE multiSearchAny(concat(payload, ' ', tryBase64Decode(payload), ' ', detail, ' ', "
    "arrayStringConcat(mapValues(context), ' ')), {needles:Array(String)})"
)


def unlogged(client: Any) -> dict[str, Any]:
    """Settings of the query: its parameters would be in system.query_log as its text is.

    None for a reader of the embedded engine, who may set nothing, and whose engine logs no queries.
    """
    setting = client.server_settings.get("log_queries")
    return {} if setting is not None and setting.readonly else {"log_queries": 0}


def needles(persons: Iterable[str]) -> list[str]:
    """What to look for: ids as JSON writes them, and long ones wherever they stand."""
    found: list[str] = []
    for person in persons:
        bare = person[2:]
        found.append(msgspec.json.encode(bare).decode())
        if len(bare) >= _LONG:
            found.append(bare)
    return found
