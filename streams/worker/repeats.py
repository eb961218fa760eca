"""A log filter: while a broker is away, Kafka's client says the same hundreds of times a second."""

from __future__ import annotations

import logging

#: Of one kind of message (logger and template), one is passed on in so many seconds.
EVERY_SECONDS = 30.0


class Repeats(logging.Filter):
    """Drops what the same logger said a moment ago, and says with the next one how many were dropped."""

    def __init__(self, loggers: str) -> None:
        """`loggers`: the filter looks at this logger and those below it, and passes all others."""
        super().__init__(loggers)
        self._last: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is passed on."""
        if not super().filter(record):
            return True  # not one of ours to drop
        kind = record.name, str(record.msg)
        at, dropped = self._last.get(kind, (0.0, 0))
        if record.created - at < EVERY_SECONDS:
            self._last[kind] = at, dropped + 1
            return False
        self._last[kind] = record.created, 0
        if dropped:
            record.msg = f"{record.msg} ({dropped} more like it)"
        return True
