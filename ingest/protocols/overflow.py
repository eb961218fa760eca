"""What an SDK sends beyond the limit of a batch: no SDK can be told to send less, so it is set aside, not lost."""

from __future__ import annotations

from ingest.contract.rejected import MAX_PAYLOAD_BYTES
from ingest.protocols import Batch
from ingest.reasons import Reason


def refuse_overflow(batch: Batch, parts: list[bytes], limit: int, app: str) -> None:
    """Sets the events after the first `limit` aside, as JSON arrays that are as long as a payload may be."""
    if len(parts) <= limit:
        return
    kept = len(batch.refused)
    detail = f"{len(parts)} events in one request, at most {limit} are allowed"
    first, size = limit, 2
    for index in range(limit, len(parts)):
        if size + len(parts[index]) + 1 > MAX_PAYLOAD_BYTES and index > first:
            batch.refuse(first, Reason.TOO_MANY, detail, _array(parts[first:index]), app)
            first, size = index, 2
        size += len(parts[index]) + 1
    if first < len(parts):
        batch.refuse(first, Reason.TOO_MANY, detail, _array(parts[first:]), app)
    batch.beyond = len(parts) - limit - (len(batch.refused) - kept)


def _array(parts: list[bytes]) -> bytes:
    return b"[" + b",".join(parts) + b"]"
