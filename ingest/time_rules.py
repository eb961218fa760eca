"""When an event happened: the device's time, corrected only where the device's clock is plainly wrong.

All times are milliseconds since 1970 in UTC; 0 means not told.
"""

from __future__ import annotations

from datetime import UTC, datetime

from ingest.contract.event import MAX_TIME_MS
from ingest.reasons import Reason, RefusedError

#: Receipt minus sending holds the way of the request too, so a difference below this says nothing about the clock.
SKEW_MS = 60_000
_MINUTE_MS = 60_000
#: A number below it (in 1973) is a time in seconds by mistake.
MIN_PLAUSIBLE_MS = 100_000_000_000


def event_time(device_time: int, sent: int, received: int, explicit: bool = False) -> int:
    """The time that counts.

    The clock is off by `received - sent`. More than a minute of it is taken for skew and added, in whole minutes rounded down: a
    copy that is sent again, with another transit, then has the same time, and the receipt is no limit to it. Never when the time
    was set on purpose (`explicit`), and never later than the receipt.
    """
    if not device_time:
        return received
    time = device_time
    if sent and not explicit:
        skew = received - sent
        if skew > SKEW_MS or skew < -SKEW_MS:
            time += skew // _MINUTE_MS * _MINUTE_MS
    return max(0, min(time, received))


def read_time(value: object, name: str) -> int:
    """A time as SDKs write it: milliseconds, or ISO 8601 (UTC where no zone is given). None and "" are 0, not told.

    Raises RefusedError BAD_TIME, naming the field, when it is no instant between 1970 and 2100.
    """
    if type(value) is int and 0 <= value < MAX_TIME_MS:  # most often
        return value
    if value is None or value == "":
        return 0
    if isinstance(value, str):
        ms = _iso_ms(value)
    elif isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        ms = None
    else:
        ms = int(value) if -MAX_TIME_MS < value < MAX_TIME_MS else -1
    if ms is None:
        raise RefusedError(Reason.BAD_TIME, f"expected milliseconds since 1970 or ISO 8601 - at `{name}`")
    if not 0 <= ms < MAX_TIME_MS:
        raise RefusedError(Reason.BAD_TIME, f"a time outside of 1970 to 2100; times are in milliseconds - at `{name}`")
    return ms


def read_sent(value: object) -> int:
    """Like `read_time` for the time of sending, which only helps to correct: 0 where it cannot be read."""
    try:
        return read_time(value, "")
    except RefusedError:
        return 0


def _iso_ms(text: str) -> int | None:
    try:
        when = datetime.fromisoformat(text)
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        return round(when.timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
