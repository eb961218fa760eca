"""What to do when ClickHouse says no: by its error codes."""

from __future__ import annotations

import re
from enum import StrEnum


class Remedy(StrEnum):
    """What helps: try again later, try with less, leave out the bad row, or nothing."""

    RETRY = "retry"
    TOO_LARGE = "too_large"
    BAD_ROW = "bad_row"
    FATAL = "fatal"


#: Away, overloaded, read-only, disk full: the same insert may succeed later.
_RETRY = frozenset(
    {
        3,  # UNEXPECTED_END_OF_FILE: the connection broke
        32,  # ATTEMPT_TO_READ_AFTER_EOF: same
        33,  # CANNOT_READ_ALL_DATA: same (no line that reaches ClickHouse ends too early)
        74,  # CANNOT_READ_FROM_FILE_DESCRIPTOR
        75,  # CANNOT_WRITE_TO_FILE_DESCRIPTOR: no space left on device
        76,  # CANNOT_OPEN_FILE
        96,  # CANNOT_WRITE_TO_SOCKET
        159,  # TIMEOUT_EXCEEDED
        164,  # READONLY: the user or server is read-only for now
        202,  # TOO_MANY_SIMULTANEOUS_QUERIES
        203,  # NO_FREE_CONNECTION
        209,  # SOCKET_TIMEOUT
        210,  # NETWORK_ERROR
        225,  # NO_ZOOKEEPER
        236,  # ABORTED: shutting down
        242,  # TABLE_IS_READ_ONLY
        243,  # NOT_ENOUGH_SPACE
        252,  # TOO_MANY_PARTS
        279,  # ALL_CONNECTION_TRIES_FAILED
        285,  # TOO_FEW_LIVE_REPLICAS
        286,  # UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
        319,  # UNKNOWN_STATUS_OF_INSERT
        394,  # QUERY_WAS_CANCELLED
        439,  # CANNOT_SCHEDULE_TASK
        499,  # S3_ERROR
        999,  # KEEPER_EXCEPTION
    }
)

_TOO_LARGE = frozenset(
    {
        173,  # CANNOT_ALLOCATE_MEMORY
        241,  # MEMORY_LIMIT_EXCEEDED
        307,  # TOO_MANY_BYTES
        158,  # TOO_MANY_ROWS
        396,  # TOO_MANY_ROWS_OR_BYTES
    }
)

#: Something in a row cannot be read as the column's type.
_BAD_ROW = frozenset(
    {
        6,  # CANNOT_PARSE_TEXT
        25,  # CANNOT_PARSE_ESCAPE_SEQUENCE
        26,  # CANNOT_PARSE_QUOTED_STRING
        27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
        38,  # CANNOT_PARSE_DATE
        41,  # CANNOT_PARSE_DATETIME
        53,  # TYPE_MISMATCH
        69,  # ARGUMENT_OUT_OF_BOUND
        70,  # CANNOT_CONVERT_TYPE
        72,  # CANNOT_PARSE_NUMBER
        117,  # INCORRECT_DATA
        128,  # TOO_LARGE_ARRAY_SIZE
        130,  # CANNOT_READ_ARRAY_FROM_TEXT
        131,  # TOO_LARGE_STRING_SIZE
        306,  # TOO_DEEP_RECURSION
        321,  # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
        349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
        467,  # CANNOT_PARSE_BOOL
        636,  # CANNOT_EXTRACT_TABLE_STRUCTURE
        675,  # CANNOT_PARSE_IPV4
        676,  # CANNOT_PARSE_IPV6
    }
)

#: How clickhouse-connect words an answer that is not ClickHouse's own, but a proxy's.
_HTTP_STATUS = re.compile(r"HTTP status (\d{3})")


def remedy(code: int | None, message: str, connection_failed: bool) -> Remedy:
    """What helps against an error with that ClickHouse code and message; code None where ClickHouse itself did not answer."""
    if code is None:
        match = _HTTP_STATUS.search(message)
        status = int(match[1]) if match else 0
        if status == 413:
            return Remedy.TOO_LARGE
        return Remedy.RETRY if connection_failed or status in (408, 429) or status >= 500 else Remedy.FATAL
    if code in _TOO_LARGE:
        return Remedy.TOO_LARGE
    if code in _RETRY:
        return Remedy.RETRY
    if code in _BAD_ROW:
        return Remedy.BAD_ROW
    return Remedy.FATAL


def backoff(attempt: int, spread: float) -> float:
    """Seconds to wait before the attempt after `attempt` failures (from 1): doubling from 0.5 s to 30 s, half of it jitter.

    spread is a random number from 0 to 1, given by the caller.
    """
    ceiling = min(30.0, 0.5 * 2.0 ** min(attempt - 1, 10))
    return float(ceiling * (0.5 + spread / 2))
