"""How far back raw events reach: what of the numbers can still be worked out from them. Pure.

Events live for clickhouse.events_ttl_days after their receipt, and none is received before it happens. So of a window that begins
after that, all events are there; of one before it some may be gone, and who was new or came back cannot be told any more at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from streams.contract.catalogue import DORMANT_USERS, NEW_USERS, RESURRECTED_USERS, RETAINED_USERS, RETURNING_USERS
from streams.contract.total import TotalKey

_DAY_MS = 86_400_000
_OF_A_WHOLE_LIFE = frozenset({NEW_USERS, RETURNING_USERS, RESURRECTED_USERS, DORMANT_USERS, RETAINED_USERS})
_Value = TypeVar("_Value")


def reach_of(stream: Iterable[TotalKey], ttl_days: int, now: int) -> int:
    """From when on (ms, UTC) raw events are complete; 0: all of them are there, as no number is older than they live."""
    since = now - (ttl_days - 1) * _DAY_MS  # the day on which they go is none of theirs any more
    return since if any(0 < key.start < since for key in stream) else 0


def within(numbers: Mapping[TotalKey, _Value], since: int) -> dict[TotalKey, _Value]:
    """The numbers that can be worked out from raw events that are complete since then."""
    return {key: value for key, value in numbers.items() if key.start >= since and key.metric not in _OF_A_WHOLE_LIFE}
