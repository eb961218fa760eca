"""Sensors Analytics' protocol: events, logins, bindings, profiles and items of the web, mobile, mini-program and server SDKs."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec

from ingest.contract.event import EventType
from ingest.json_text import DECODE_ERRORS, check_event, elements, is_plain, words
from ingest.limits import MAX_DURATION_MS
from ingest.line import EMPTY, NO_RAW, EventLine, content_id, id_text, is_object, name_text, short
from ingest.platforms import platform_of
from ingest.protocols import Batch, Receipt, reason_of
from ingest.protocols.overflow import refuse_overflow
from ingest.protocols.sensors_form import Payload
from ingest.protocols.sensors_identity import Identity, identify
from ingest.reasons import Reason, RefusedError
from ingest.time_rules import event_time, read_sent, read_time

PROTOCOL = "sensors"
_TYPES: dict[str, EventType] = {
    "track": "track",
    "track_signup": "identify",
    "track_id_bind": "bind",
    "track_id_unbind": "unbind",
    "item_set": "item",
    "item_delete": "item",
}
#: The time of sending changes when an event is sent again: no part of what it is.
_FLUSH_TIME = re.compile(rb',?\s*"_flush_time"\s*:\s*-?[0-9]+(?:\.[0-9]+)?')

_Text = str | int | None


class SensorsEvent(msgspec.Struct, gc=False):
    """One event. Fields that are absent or null are alike; what is not named here is in `raw` alone."""

    type: str
    event: str | None = None
    time: Any = None
    distinct_id: _Text = None
    original_id: _Text = None
    login_id: _Text = None
    anonymous_id: _Text = None
    identities: msgspec.Raw = NO_RAW
    track_id: Any = msgspec.field(name="_track_id", default=None)
    flush_time: Any = msgspec.field(name="_flush_time", default=None)
    time_free: Any = None
    project: Any = None
    token: Any = None
    item_type: _Text = None
    item_id: _Text = None
    properties: msgspec.Raw = NO_RAW
    lib: msgspec.Raw = NO_RAW


class Properties(msgspec.Struct, gc=False):
    """The preset properties that have a column, or say who it was."""

    os: Any = msgspec.field(name="$os", default=None)
    lib: Any = msgspec.field(name="$lib", default=None)
    app_version: Any = msgspec.field(name="$app_version", default=None)
    utm_source: Any = msgspec.field(name="$utm_source", default=None)
    latest_utm_source: Any = msgspec.field(name="$latest_utm_source", default=None)
    is_login_id: Any = msgspec.field(name="$is_login_id", default=None)
    preset_duration: Any = msgspec.field(name="$event_duration", default=None)
    event_duration: Any = None
    device_id: Any = msgspec.field(name="$device_id", default=None)
    session_id: Any = msgspec.field(name="$event_session_id", default=None)


class Library(msgspec.Struct, gc=False):
    """Who sent it."""

    name: Any = msgspec.field(name="$lib", default=None)
    version: Any = msgspec.field(name="$lib_version", default=None)
    app_version: Any = msgspec.field(name="$app_version", default=None)


class Envelope(msgspec.Struct, gc=False):
    """What tells an encrypted payload from an event."""

    ekey: Any = None
    payload: Any = None
    payloads: Any = None


class _About(NamedTuple):
    """What `lib` says, as columns have it."""

    name: str
    version: str
    app_version: str
    context: msgspec.Raw


class _Shared(NamedTuple):
    """What all events of a request have in common.

    abouts      what `lib` says, which mostly is the same in all of them
    identities  who it was, by all that says so: a device's batch is of one person
    """

    receipt: Receipt
    payload: Payload
    abouts: dict[bytes, _About]
    identities: dict[tuple[object, ...], Identity]


_decode_event = msgspec.json.Decoder(SensorsEvent).decode
_decode_properties = msgspec.json.Decoder(Properties).decode
_decode_library = msgspec.json.Decoder(Library).decode
_decode_identities = msgspec.json.Decoder(dict[str, Any] | None).decode
_NO_PROPERTIES = Properties()
_NO_LIBRARY = Library()


def decode(payload: Payload, receipt: Receipt) -> Batch:
    """All events of a payload. Raises RefusedError when it holds none as a whole."""
    body = payload.text.strip()
    if body[:1] == b"[":
        parts, path = elements(body), "$[{}]"
    elif body[:1] == b"{":
        parts, path = [body], "$"
    else:
        raise RefusedError(Reason.BAD_BODY, "expected a JSON object or array")
    batch = Batch(receipt.rules)
    limits = receipt.limits
    url_app = receipt.keys.app_of(*receipt.candidates)
    shared = _Shared(receipt, payload, {}, {})
    plain = is_plain(body, limits)
    for index, raw in enumerate(parts[: limits.batch_events]):
        try:
            text, verbatim = check_event(raw, limits, plain)
            found = _decode_event(text)
        except RefusedError as error:
            batch.refuse(index, error.reason, words(error, path.format(index)), raw, url_app)
            continue
        except DECODE_ERRORS as error:
            where = path.format(index)
            if b'"ekey"' in raw and _is_encrypted(raw):
                batch.refuse(index, Reason.ENCRYPTED, f"an encrypted envelope - at `{where}`", raw, url_app)
            else:
                batch.refuse(index, reason_of(error), words(error, where), raw, url_app)
            continue
        app = _app(found, url_app, receipt)
        if not app:
            why = _refusal(found, receipt)
            batch.refuse(index, why.reason, words(why, path.format(index)), raw, why.app)
            continue
        batch.add(index, raw, path, app, event_line, found, text, verbatim, app, shared)
    refuse_overflow(batch, parts, limits.batch_events, url_app)
    return batch


def event_line(found: SensorsEvent, text: bytes, verbatim: str, app: str, shared: _Shared) -> EventLine:
    """The line of a decoded event; `text` and `verbatim` are its JSON. Raises RefusedError, or one of DECODE_ERRORS."""
    receipt = shared.receipt
    kind = _kind(found.type)
    properties, props = _properties(found.properties)
    about = _about(found.lib, shared)
    identity = _identity(found, kind, properties, shared)
    device_time = read_time(found.time, "$.time")
    sent = read_sent(found.flush_time)
    lib = about.name or short(properties.lib)
    return EventLine(
        id=_event_id(found, text, device_time, receipt.received),
        app=app,
        person=identity.person,
        event=name_text(found.event or (None if kind == "track" else found.type), "$.event"),
        type=kind,
        time=event_time(device_time, sent, receipt.received, found.time_free is True),
        received=receipt.received,
        device_time=device_time,
        sent=sent,
        platform=platform_of(short(properties.os), lib),
        version=short(properties.app_version) or about.app_version,
        channel=short(properties.utm_source) or short(properties.latest_utm_source),
        duration=_duration(found.event or "", properties),
        props=props,
        context=about.context,
        ids=identity.ids,
        merge=identity.merge,
        protocol=PROTOCOL,
        lib=lib,
        lib_version=about.version,
        raw=verbatim,
    )


def _kind(name: str) -> EventType:
    kind = _TYPES.get(name)
    if kind is not None:
        return kind
    if name.startswith("profile_"):
        return "profile"
    raise RefusedError(Reason.BAD_EVENT, f'unknown type "{short(name)[:64]}" - at `$.type`')


def _is_encrypted(raw: bytes) -> bool:
    try:
        found = msgspec.json.decode(raw, type=Envelope)
    except DECODE_ERRORS:
        return False
    return bool(found.ekey) and bool(found.payload or found.payloads)


def _app(found: SensorsEvent, url_app: str, receipt: Receipt) -> str:
    """The app: by the event's own token or project where it has one, else by the request's. A token that is not known is not
    replaced by the request's: the event says that it belongs elsewhere."""
    if found.token is None and found.project is None:  # most often
        return url_app
    token, project = short(found.token), short(found.project)
    if token:
        return receipt.keys.app_of(token, project)
    return (receipt.keys.app_of(project) if project else "") or url_app


def _refusal(found: SensorsEvent, receipt: Receipt) -> RefusedError:
    """Why `_app` found none."""
    own = [key for key in (short(found.token), short(found.project)) if key]
    return receipt.keys.refusal(*(own or receipt.candidates))


def _identity(found: SensorsEvent, kind: EventType, properties: Properties, shared: _Shared) -> Identity:
    device, session = short(properties.device_id), short(properties.session_id)
    is_login_id, names = properties.is_login_id is True, bytes(found.identities)
    key = (
        *(kind, found.distinct_id, found.original_id, found.login_id, found.anonymous_id),
        *(names, is_login_id, device, session, found.item_type, found.item_id),
    )
    identity = shared.identities.get(key)
    if identity is None:
        identity = _item(found) if kind == "item" else _person(found, kind, _identities(names), is_login_id)
        if device:
            identity.ids["device_id"] = device
        if session:
            identity.ids["session_id"] = session
        shared.identities[key] = identity
    return identity


def _item(found: SensorsEvent) -> Identity:
    name, number = short(found.item_type), short(found.item_id)
    if not name and not number:
        raise RefusedError(Reason.NO_PERSON, "an item needs item_type or item_id - at `$`")
    return Identity(f"a:{f'$item+{name}+{number}'[:256]}", None, {"item_type": name, "item_id": number})


def _person(found: SensorsEvent, kind: EventType, identities: dict[str, str], is_login_id: bool) -> Identity:
    return identify(
        kind,
        distinct=id_text(found.distinct_id, "$.distinct_id"),
        original=id_text(found.original_id, "$.original_id"),
        login=id_text(found.login_id, "$.login_id"),
        anonymous=id_text(found.anonymous_id, "$.anonymous_id"),
        identities=identities,
        is_login_id=is_login_id,
    )


def _identities(text: bytes) -> dict[str, str]:
    try:
        found = _decode_identities(text) if text else None
    except msgspec.ValidationError as error:
        raise RefusedError(Reason.BAD_EVENT, f"{error} - at `$.identities`") from error
    return {name: value for name, one in found.items() if (value := short(one))} if found else {}


def _event_id(found: SensorsEvent, raw: bytes, device_time: int, received: int) -> str:
    """The SDK's number of the event is random of nine digits, so it is a key only together with who, when and what. Without it
    the content is, and without a time the receipt besides: two equal events that somebody wrote by hand are two."""
    track_id = short(found.track_id)
    if track_id:
        return content_id(short(found.distinct_id), track_id, device_time, found.type, found.event or "")
    content = _FLUSH_TIME.sub(b"", raw)
    return content_id(content) if device_time else content_id(content, received)


def _duration(event: str, properties: Properties) -> int:
    """What the SDK itself measured for one of its own events, such as $AppEnd: seconds, here as milliseconds."""
    if event[:1] != "$":
        return 0
    for seconds in (properties.preset_duration, properties.event_duration):
        if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds <= MAX_DURATION_MS / 1000:
            return round(seconds * 1000)
    return 0


def _properties(raw: msgspec.Raw) -> tuple[Properties, msgspec.Raw]:
    """The properties and their JSON; none where they are no object."""
    try:
        return _decode_properties(raw), raw
    except msgspec.DecodeError:
        if is_object(raw):
            raise
        return _NO_PROPERTIES, EMPTY


def _about(raw: msgspec.Raw, shared: _Shared) -> _About:
    text = bytes(raw)
    found = shared.abouts.get(text)
    if found is None:
        library = _decode_library(text) if text[:1] == b"{" else _NO_LIBRARY
        found = shared.abouts[text] = _About(
            short(library.name), short(library.version), short(library.app_version), _context(raw, shared.payload)
        )
    return found


def _context(lib: msgspec.Raw, payload: Payload) -> msgspec.Raw:
    """What the library says of itself, and the request's checksum: a wrong one is noted, and no reason to lose the event."""
    parts = []
    if is_object(lib):
        parts.append(b'"lib":' + bytes(lib))
    if payload.crc:
        parts.append(b'"crc":' + msgspec.json.encode(payload.crc))
    if not payload.crc_ok:
        parts.append(b'"crc_ok":false')
    return msgspec.Raw(b"{" + b",".join(parts) + b"}") if parts else EMPTY
