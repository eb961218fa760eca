"""Footfall's own protocol: one event, an array of events, or JSON lines.

An event names itself and a person; all else is optional:

    {"event": "pay_bill", "user_id": "42", "anonymous_id": "d-7", "id": "...", "time": 1795312800123, "sent": 1795312800456,
     "type": "track", "platform": "ios", "version": "9.1.0", "channel": "push", "duration": 0, "props": {...}, "context": {...},
     "ids": {"session_id": "..."}, "previous_id": "...", "lib": "...", "lib_version": "..."}

A field that is not known is an error: it would be lost in silence otherwise.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ingest.contract.event import EventType, Merge, ShortText
from ingest.json_text import check_event, elements, is_json, is_plain
from ingest.limits import MAX_DURATION_MS, MAX_TEXT
from ingest.line import EMPTY, NO_RAW, EventLine, content_id, id_text, is_object, name_text, number_text, short
from ingest.protocols import Batch, Receipt
from ingest.reasons import Reason, RefusedError
from ingest.time_rules import MIN_PLAUSIBLE_MS, event_time, read_time

_WHITESPACE = b" \t\r\n"


class NativeEvent(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What a client may send."""

    event: str
    id: str | int | None = None
    user_id: str | int | None = None
    anonymous_id: str | int | None = None
    previous_id: str | int | None = None
    type: EventType | None = None
    time: int | float | str | None = None
    sent: int | float | str | None = None
    platform: ShortText | None = None
    version: ShortText | None = None
    channel: ShortText | None = None
    duration: Annotated[int, msgspec.Meta(ge=0, le=MAX_DURATION_MS)] | None = None
    props: msgspec.Raw = NO_RAW
    context: msgspec.Raw = NO_RAW
    ids: dict[str, str | int | None] | None = None
    lib: ShortText | None = None
    lib_version: ShortText | None = None


_decode = msgspec.json.Decoder(NativeEvent).decode


def decode_event(raw: bytes, app: str, receipt: Receipt, plain: bool = False) -> EventLine:
    """One event; `plain` as in `check_event`. Raises RefusedError, or one of DECODE_ERRORS."""
    raw, _ = check_event(raw, receipt.limits, plain)
    found = _decode(raw)
    user, anonymous = id_text(found.user_id, "$.user_id"), id_text(found.anonymous_id, "$.anonymous_id")
    if not user and not anonymous:
        raise RefusedError(Reason.NO_PERSON, "give user_id or anonymous_id - at `$`")
    device_time = read_time(found.time, "$.time")
    sent = read_time(found.sent, "$.sent")
    if device_time and device_time < MIN_PLAUSIBLE_MS and not sent:
        raise RefusedError(Reason.BAD_TIME, "looks like seconds; times are in milliseconds - at `$.time`")
    kind: EventType = found.type or "track"
    ids = {name: text for name, value in found.ids.items() if (text := short(value))} if found.ids else {}
    if anonymous:
        ids["anonymous_id"] = anonymous
    if user:
        ids["user_id"] = user
    previous = id_text(found.previous_id, "$.previous_id")
    if previous:
        ids["previous_id"] = previous
    return EventLine(
        # Without a time the content says nothing about which of two equal events it is: the receipt does.
        id=_own_id(found.id) or content_id(raw, device_time or receipt.received),
        app=app,
        person=f"u:{user}" if user else f"a:{anonymous}",
        event=name_text(found.event, "$.event"),
        type=kind,
        time=event_time(device_time, sent, receipt.received),
        received=receipt.received,
        device_time=device_time,
        sent=sent,
        platform=found.platform or "",
        version=found.version or "",
        channel=found.channel or "",
        duration=found.duration or 0,
        props=_object(found.props, "$.props"),
        context=_object(found.context, "$.context"),
        ids=ids,
        merge=_merge(kind, user, anonymous, previous),
        lib=found.lib or "",
        lib_version=found.lib_version or "",
    )


def decode(body: bytes, app: str, receipt: Receipt, lines: bool = False) -> Batch:
    """All events of a body, of one app; `lines`: the client says that they are JSON lines.

    Raises RefusedError when the body as a whole holds no events, or too many.
    """
    body = body.strip(_WHITESPACE)
    if not body:
        raise RefusedError(Reason.BAD_BODY, "the body is empty: send a JSON object, an array of objects, or JSON lines")
    batch = Batch(receipt.rules)
    if body[:1] == b"[" and not lines:
        parts, path = elements(body), "$[{}]"
    elif lines or (b"\n" in body and not is_json(body) and _starts_with_lines(body)):
        parts, path = [line for line in body.split(b"\n") if line.strip(_WHITESPACE)], "line {}: $"
    else:
        parts, path = [body], "$"
    if len(parts) > receipt.limits.batch_events:
        raise RefusedError(
            Reason.TOO_MANY, f"{len(parts)} events, at most {receipt.limits.batch_events} are allowed in a request"
        )
    plain = is_plain(body, receipt.limits)
    for index, raw in enumerate(parts):
        batch.add(index, raw, path, app, decode_event, raw, app, receipt, plain)
    return batch


def _starts_with_lines(body: bytes) -> bool:
    """Whether the first line could be a line of JSON lines, and not the beginning of an object written over several lines."""
    return body[: body.index(b"\n")].rstrip(_WHITESPACE)[-1:] == b"}"


def _own_id(given: str | int | None) -> str:
    text = "" if given is None else given if isinstance(given, str) else number_text(given)
    return text if len(text) <= MAX_TEXT else content_id(text)


def _object(raw: msgspec.Raw, path: str) -> msgspec.Raw:
    if is_object(raw):
        return raw
    if bytes(raw) not in (b"", b"null"):
        raise RefusedError(Reason.BAD_EVENT, f"expected an object - at `{path}`")
    return EMPTY


def _merge(kind: EventType, user: str, anonymous: str, previous: str) -> Merge | None:
    if kind == "identify" and user and anonymous:
        return Merge(source=f"a:{anonymous}", target=f"u:{user}", how="identify")
    if kind == "alias" and previous and (user or anonymous):
        return Merge(source=f"a:{previous}", target=f"u:{user}" if user else f"a:{anonymous}", how="alias")
    return None
