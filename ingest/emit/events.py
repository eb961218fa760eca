"""From the arguments of `emit` to an event: the native protocol's own JSON, checked by the native protocol's own rules. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, TypedDict
from uuid import UUID

from ingest.contract.errors import BadEventError
from ingest.contract.event import EventType
from ingest.protocols import Accepted, Receipt, native


class EventFields(TypedDict, total=False):
    """What `emit` takes besides the event's name; as in the native protocol, one of user_id and anonymous_id has to be there.

    id           sent twice, it counts once; made where it is not given
    time         when it happened: ms since 1970 (UTC), ISO 8601, or a datetime with a zone; now where it is not given
    props        its properties: what JSON can say; dates, decimals and UUIDs become texts
    """

    id: str | int
    user_id: str | int
    anonymous_id: str | int
    previous_id: str | int
    type: EventType
    time: int | float | str | datetime
    platform: str
    version: str
    channel: str
    duration: int
    props: Mapping[str, Any]
    context: Mapping[str, Any]
    ids: Mapping[str, str | int]
    lib: str
    lib_version: str


def event_json(event: str, fields: EventFields, new_id: str, now: int) -> tuple[str, bytes]:
    """Its id and its JSON; `new_id` and `now` (ms) stand in for an id and a time that are not given. Raises BadEventError."""
    found: dict[str, Any] = {"event": event, "id": new_id, "time": now}
    found.update((name, value) for name, value in fields.items() if value is not None)
    if found["id"] == "":
        found["id"] = new_id
    if isinstance(found["time"], datetime) and found["time"].tzinfo is None:
        raise BadEventError("a datetime needs a time zone - at `$.time`")
    try:  # the standard library's: integers of any length stay exact, NaN is an error instead of null
        text = json.dumps(found, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_as_text)
        return str(found["id"]), text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BadEventError(f"the event cannot be written as JSON: {error or type(error).__name__}") from error


def _as_text(value: object) -> str:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal | UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is nothing that JSON has")


def accept(raw: bytes, app: str, receipt: Receipt) -> Accepted:
    """The line that the collector would make of it. Raises BadEventError with what the collector would say."""
    batch = native.decode(raw, app, receipt)
    if batch.refused:
        refused = batch.refused[0]
        raise BadEventError(f"{refused.detail} ({refused.reason})")
    return batch.accepted[0]
