"""Segment's HTTP API, which RudderStack shares: a batch of calls, or one call to a path of its own."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from ingest.contract.event import EventType, Merge
from ingest.json_text import DECODE_ERRORS, check_event, elements, is_plain, split_broken, words
from ingest.limits import MAX_TEXT
from ingest.line import EMPTY, NO_RAW, EventLine, content_id, id_text, is_object, name_text, short
from ingest.platforms import platform_of
from ingest.protocols import Batch, Receipt
from ingest.protocols.overflow import refuse_overflow
from ingest.reasons import Reason, RefusedError
from ingest.time_rules import event_time, read_sent, read_time

PROTOCOL = "segment"
#: Last part of a path -> the call that it is.
CALLS: dict[str, EventType] = {
    **dict.fromkeys(("t", "track"), "track"),
    **dict.fromkeys(("i", "identify"), "identify"),
    **dict.fromkeys(("p", "page"), "page"),
    **dict.fromkeys(("s", "screen"), "screen"),
    **dict.fromkeys(("a", "alias"), "alias"),
    **dict.fromkeys(("g", "group"), "group"),
}

_Text = str | int | None


class Envelope(msgspec.Struct, gc=False):
    """A batch as a whole."""

    batch: msgspec.Raw
    writeKey: Any = None
    sentAt: Any = None
    context: msgspec.Raw = NO_RAW


class Call(msgspec.Struct, gc=False):
    """One call. Fields that are absent or null are alike; what is not named here is in `raw` alone."""

    type: str | None = None
    messageId: _Text = None
    anonymousId: _Text = None
    userId: _Text = None
    previousId: _Text = None
    groupId: _Text = None
    event: str | None = None
    name: str | None = None
    timestamp: Any = None
    originalTimestamp: Any = None
    sentAt: Any = None
    writeKey: Any = None
    properties: msgspec.Raw = NO_RAW
    traits: msgspec.Raw = NO_RAW
    context: msgspec.Raw = NO_RAW


class _Named(msgspec.Struct, gc=False):
    name: Any = None
    version: Any = None


class _Device(msgspec.Struct, gc=False):
    id: Any = None
    advertisingId: Any = None


class _Campaign(msgspec.Struct, gc=False):
    source: Any = None
    medium: Any = None


class Context(msgspec.Struct, gc=False):
    """The parts of `context` that have a column."""

    library: _Named | None = None
    os: _Named | None = None
    app: _Named | None = None
    device: _Device | None = None
    campaign: _Campaign | None = None
    sessionId: Any = None


class _Traits(msgspec.Struct, gc=False):
    traits: msgspec.Raw = NO_RAW


class _About(NamedTuple):
    """What a context says, as columns have it; `raw` is the context itself."""

    raw: msgspec.Raw = EMPTY
    platform: str = ""
    version: str = ""
    channel: str = ""
    lib: str = ""
    lib_version: str = ""
    ids: Mapping[str, str] = {}


class _Shared(NamedTuple):
    """What all calls of a request have in common.

    explicit  their times are meant, whatever the device's clock says
    visitor   whose the calls are that name nobody
    plain     as in `check_event`
    outer     the batch's own context
    abouts    the contexts that were read already: those of a batch are mostly one and the same
    """

    receipt: Receipt
    app: str
    sent: int
    visitor: str
    plain: bool
    abouts: dict[bytes, _About]
    outer: msgspec.Raw = NO_RAW
    explicit: bool = False


_decode_call = msgspec.json.Decoder(Call).decode
_decode_context = msgspec.json.Decoder(Context).decode
_decode_traits = msgspec.json.Decoder(_Traits).decode
_decode_envelope = msgspec.json.Decoder(Envelope).decode
_NOTHING = _About()


def decode(body: bytes, call: str, receipt: Receipt, visitor: str = "") -> Batch:
    """All events of a request. `call` is the last part of the path: batch, b, import, or one of CALLS; `visitor` is
    RudderStack's header AnonymousId (base64), for calls that name nobody.

    Raises RefusedError when the body as a whole holds no calls.
    """
    if call in CALLS:
        return _decode_single(body, CALLS[call], receipt, _visitor(visitor))
    envelope = _envelope(body)
    app = receipt.keys.app_of(*receipt.candidates, short(envelope.writeKey))
    parts = elements(bytes(envelope.batch))
    batch = Batch(receipt.rules)
    if not app:
        raise receipt.keys.refusal(*receipt.candidates, short(envelope.writeKey))
    shared = _Shared(
        receipt,
        app,
        read_sent(envelope.sentAt),
        _visitor(visitor),
        is_plain(body, receipt.limits),
        abouts={},
        outer=_outer_context(envelope.context, receipt),
        explicit=call == "import",  # a bulk import of the past
    )
    limit = receipt.limits.batch_events
    for index, raw in enumerate(parts[:limit]):
        batch.add(index, raw, "$.batch[{}]", app, decode_call, raw, None, shared)
    refuse_overflow(batch, parts, limit, app)
    return batch


def _decode_single(body: bytes, kind: EventType, receipt: Receipt, visitor: str) -> Batch:
    batch = Batch(receipt.rules)
    body = body.strip()
    try:
        found = _decode_call(body)
    except DECODE_ERRORS:
        found = Call()  # what is wrong is said where the event is decoded
    app = receipt.keys.app_of(*receipt.candidates, short(found.writeKey))
    if not app:
        raise receipt.keys.refusal(*receipt.candidates, short(found.writeKey))
    shared = _Shared(receipt, app, read_sent(found.sentAt), visitor, plain=False, abouts={})
    batch.add(0, body, "$", app, decode_call, body, kind, shared)
    return batch


def decode_call(raw: bytes, kind: EventType | None, shared: _Shared) -> EventLine:
    """One call; `kind` is what the path says, where it says it. Raises RefusedError, or one of DECODE_ERRORS."""
    receipt = shared.receipt
    raw, text = check_event(raw, receipt.limits, shared.plain)
    found = _decode_call(raw)
    kind = CALLS.get((found.type or "").lower(), kind)
    if kind is None:
        raise RefusedError(Reason.BAD_EVENT, "expected track, identify, page, screen, alias or group - at `$.type`")
    user, anonymous = id_text(found.userId, "$.userId"), id_text(found.anonymousId, "$.anonymousId")
    previous = id_text(found.previousId, "$.previousId")
    if not user and not anonymous and not previous:
        anonymous = shared.visitor
    if not user and not anonymous and not previous:
        raise RefusedError(Reason.NO_PERSON, "neither userId nor anonymousId - at `$`")
    stamp, path = (found.timestamp, "$.timestamp") if found.timestamp else (found.originalTimestamp, "$.originalTimestamp")
    device_time = read_time(stamp, path)
    about = _about(found.context, shared)
    merge = None
    if kind == "identify" and user and anonymous:
        merge = Merge(source=f"a:{anonymous}", target=f"u:{user}", how="identify")
    elif kind == "alias" and previous and (user or anonymous):
        merge = Merge(source=f"a:{previous}", target=f"u:{user}" if user else f"a:{anonymous}", how="alias")
    return EventLine(
        id=_message_id(found) or (content_id(text) if device_time else content_id(text, receipt.received)),
        app=shared.app,
        person=f"u:{user}" if user else f"a:{anonymous or previous}",
        event=_name(kind, found),
        type=kind,
        time=event_time(device_time, shared.sent, receipt.received, shared.explicit),
        received=receipt.received,
        device_time=device_time,
        sent=shared.sent,
        platform=about.platform,
        version=about.version,
        channel=about.channel,
        props=_props(found, kind, about.raw),
        context=about.raw,
        ids={**_ids(found, user, anonymous, previous), **about.ids},
        merge=merge,
        protocol=PROTOCOL,
        lib=about.lib,
        lib_version=about.lib_version,
        raw=text,
    )


def _message_id(found: Call) -> str:
    """The SDK's id of the event; "" when there is none. Without a time either, the content says nothing about which of two equal
    events it is: the receipt does."""
    given = found.messageId
    text = given if isinstance(given, str) else id_text(given, "$.messageId")
    return text if len(text) <= MAX_TEXT else content_id(text)


def _envelope(body: bytes) -> Envelope:
    """The envelope, also of a body that is broken somewhere inside. Raises RefusedError when there is no batch in it."""
    try:
        found = _decode_envelope(body)
    except msgspec.ValidationError as error:
        raise RefusedError(Reason.BAD_BODY, str(error)) from error
    except DECODE_ERRORS as error:
        found = _broken_envelope(body, error)
    if bytes(memoryview(found.batch)[:1]) != b"[":
        raise RefusedError(Reason.BAD_BODY, "expected an array - at `$.batch`")
    return found


def _broken_envelope(body: bytes, error: Exception) -> Envelope:
    refused = RefusedError(Reason.BAD_BODY, words(error, "$"))
    if body.lstrip()[:1] != b"{":
        raise refused from error
    members = dict(split_broken(body))
    if b'"batch"' not in members:
        raise refused from error
    return Envelope(
        batch=msgspec.Raw(members[b'"batch"']), writeKey=_scalar(members, b'"writeKey"'), sentAt=_scalar(members, b'"sentAt"')
    )


def _scalar(members: dict[bytes, bytes], key: bytes) -> object:
    try:
        return msgspec.json.decode(members.get(key, b"null"))
    except DECODE_ERRORS:
        return None


def _name(kind: EventType, found: Call) -> str:
    """Track calls are named; pages and screens by their name; the others by what they are."""
    if kind == "track":
        return name_text(found.event, "$.event")
    if kind in ("page", "screen"):
        return name_text(found.name or found.event or kind, "$.name")
    return kind


def _app_version(app: _Named | None, library: _Named) -> str:
    """The app's version; RudderStack's browser SDK says there that it is itself the app."""
    return "" if app is None or (app.name == library.name and app.version == library.version) else short(app.version)


def _props(found: Call, kind: EventType, context: msgspec.Raw) -> msgspec.Raw:
    """The properties; of identify and group the traits, which some SDKs send in the context alone. What is no object stays in
    `raw`."""
    if kind == "identify" and not _says_something(found.traits):
        raw = _decode_traits(context).traits
    else:
        raw = found.traits if kind in ("identify", "group") else found.properties
    return raw if is_object(raw) else EMPTY


def _says_something(raw: msgspec.Raw) -> bool:
    return is_object(raw) and bytes(raw) != b"{}"


def _visitor(header: str) -> str:
    """The id in RudderStack's header AnonymousId; "" when there is none."""
    try:
        return short(binascii.a2b_base64(header.encode("ascii")).decode()) if header else ""
    except ValueError:
        return ""


def _about(raw: msgspec.Raw, shared: _Shared) -> _About:
    """What the event's context says, else the batch's."""
    text = bytes(raw)
    found = shared.abouts.get(text)
    if found is None:
        if text[:1] != b"{":
            raw = shared.outer
        found = shared.abouts[text] = _read_context(raw) if is_object(raw) else _NOTHING
    return found


def _read_context(raw: msgspec.Raw) -> _About:
    """The known parts of a context where they are what one expects."""
    try:
        context = _decode_context(raw)
    except msgspec.ValidationError:
        context = _loose_context(raw)
    library = context.library or _Named()
    lib = short(library.name)
    campaign = context.campaign or _Campaign()
    device = context.device or _Device()
    ids = {
        "device_id": short(device.id),
        "advertising_id": short(device.advertisingId),
        "session_id": short(context.sessionId),
    }
    return _About(
        raw=raw,
        platform=platform_of(short(context.os.name) if context.os else "", lib),
        version=_app_version(context.app, library),
        channel=short(campaign.source) or short(campaign.medium),
        lib=lib,
        lib_version=short(library.version),
        ids={name: value for name, value in ids.items() if value},
    )


def _outer_context(raw: msgspec.Raw, receipt: Receipt) -> msgspec.Raw:
    """The batch's context as it may be put into events; nothing where it may not."""
    try:
        return msgspec.Raw(check_event(bytes(raw), receipt.limits)[0])
    except RefusedError:
        return EMPTY


def _loose_context(raw: msgspec.Raw) -> Context:
    """The context of somebody who puts other types there: a part that does not fit is left out, the rest holds."""
    parts = msgspec.json.decode(raw, type=dict[str, Any])
    fitting: dict[str, Any] = {}
    for name in Context.__struct_fields__:
        try:
            msgspec.convert({name: parts.get(name)}, Context)
        except msgspec.ValidationError:
            continue
        fitting[name] = parts.get(name)
    return msgspec.convert(fitting, Context)


def _ids(found: Call, user: str, anonymous: str, previous: str) -> dict[str, str]:
    ids = {}
    if anonymous:
        ids["anonymous_id"] = anonymous
    if user:
        ids["user_id"] = user
    if previous:
        ids["previous_id"] = previous
    if found.groupId is not None and (group := short(found.groupId)):
        ids["group_id"] = group
    return ids
