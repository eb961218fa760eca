"""PostHog's capture API: one event, an array, or a batch of the browser, mobile and server SDKs, and its newer "v1" form."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec

from ingest.contract.event import EventType
from ingest.json_text import DECODE_ERRORS, check_event, elements, is_plain, split_broken
from ingest.limits import MAX_TEXT
from ingest.line import EMPTY, NO_RAW, EventLine, content_id, id_text, is_object, name_text, short
from ingest.platforms import platform_of
from ingest.protocols import Batch, Receipt
from ingest.protocols.overflow import refuse_overflow
from ingest.protocols.posthog_identity import identify
from ingest.protocols.sensors_form import decode_value, field_text, read_fields
from ingest.reasons import Reason, RefusedError
from ingest.time_rules import event_time, read_sent, read_time

PROTOCOL = "posthog"
_TYPES: dict[str, EventType] = {
    "$pageview": "page",
    "$screen": "screen",
    "$identify": "identify",
    "$create_alias": "alias",
    "$merge_dangerously": "alias",
    "$groupidentify": "group",
    "$set": "profile",
    "$set_once": "profile",
    "$unset": "profile",
}
#: Operations on the user's properties: on any event, beside the properties or among them.
_OPERATIONS = ("$set", "$set_once", "$unset")
#: The time of sending changes when an event is sent again: no part of what it is.
_SENT_AT = re.compile(rb',?\s*"sent_at"\s*:\s*"[^"\\]*"')
_MAX_GROUPS = 16
_WHITESPACE = b" \t\r\n"

_Text = str | int | None


class About(NamedTuple):
    """What headers say: the SDK's name and version (`posthog-python/7.1`), and when the request was sent; "" if not told."""

    sdk: str = ""
    sent: str = ""


class Envelope(msgspec.Struct, gc=False):
    """A request as a whole."""

    batch: msgspec.Raw = NO_RAW
    api_key: Any = None
    token: Any = None
    sent_at: Any = None
    historical_migration: Any = None


class Options(msgspec.Struct, gc=False):
    """What the v1 form says beside the properties."""

    cookieless_mode: Any = None
    disable_skew_correction: Any = None
    process_person_profile: Any = None


class PostHogEvent(msgspec.Struct, gc=False):
    """One event. Fields that are absent or null are alike; what is not named here is in `raw` alone."""

    event: str | None = None
    uuid: _Text = None
    messageId: _Text = None
    distinct_id: _Text = None
    timestamp: Any = None
    offset: Any = None
    api_key: Any = None
    token: Any = None
    session_id: Any = None
    window_id: Any = None
    properties: msgspec.Raw = NO_RAW
    options: msgspec.Raw = NO_RAW
    set: msgspec.Raw = msgspec.field(name="$set", default=NO_RAW)
    set_once: msgspec.Raw = msgspec.field(name="$set_once", default=NO_RAW)
    unset: msgspec.Raw = msgspec.field(name="$unset", default=NO_RAW)


class Properties(msgspec.Struct, gc=False):
    """The properties that have a column, or say who it was."""

    distinct_id: _Text = None
    alias: _Text = None
    token: Any = None
    user_id: _Text = msgspec.field(name="$user_id", default=None)
    anon_distinct_id: _Text = msgspec.field(name="$anon_distinct_id", default=None)
    device_id: _Text = msgspec.field(name="$device_id", default=None)
    session_id: Any = msgspec.field(name="$session_id", default=None)
    window_id: Any = msgspec.field(name="$window_id", default=None)
    insert_id: Any = msgspec.field(name="$insert_id", default=None)
    is_identified: Any = msgspec.field(name="$is_identified", default=None)
    is_server: Any = msgspec.field(name="$is_server", default=None)
    process_person_profile: Any = msgspec.field(name="$process_person_profile", default=None)
    cookieless_mode: Any = msgspec.field(name="$cookieless_mode", default=None)
    ignore_sent_at: Any = msgspec.field(name="$ignore_sent_at", default=None)
    groups: Any = msgspec.field(name="$groups", default=None)
    group_type: Any = msgspec.field(name="$group_type", default=None)
    group_key: Any = msgspec.field(name="$group_key", default=None)
    os: Any = msgspec.field(name="$os", default=None)
    os_name: Any = msgspec.field(name="$os_name", default=None)
    lib: Any = msgspec.field(name="$lib", default=None)
    lib_version: Any = msgspec.field(name="$lib_version", default=None)
    app_version: Any = msgspec.field(name="$app_version", default=None)
    utm_source: Any = None


class _Line(msgspec.Struct, gc=False):
    id: str


class _Shared(NamedTuple):
    """What all events of a request have in common."""

    app: str
    sent: int
    explicit: bool
    lib: str
    lib_version: str


_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_event = msgspec.json.Decoder(PostHogEvent).decode
_decode_properties = msgspec.json.Decoder(Properties).decode
_decode_options = msgspec.json.Decoder(Options).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_id = msgspec.json.Decoder(_Line).decode
_encode = msgspec.json.Encoder().encode
_NO_OPTIONS = Options()


def read_capture(body: bytes, fields: dict[str, bytes], limit: int) -> bytes:
    """The JSON in a request, whose body is inflated already: as it is, or in a form's or the query's `data`, in base64, zipped
    or not. Raises RefusedError.
    """
    if field_text(fields, "compression").startswith("lz"):
        raise RefusedError(Reason.BAD_ENCODING, "compression=lz64 is not supported: SDKs since 2021 send gzip or base64")
    body = body.strip(_WHITESPACE)
    if body[:1] in (b"{", b"["):
        return body
    value = (read_fields(body).get("data") or body) if body else fields.get("data", b"")
    if not value:
        raise RefusedError(Reason.BAD_BODY, "no body and no data")
    return decode_value(value, limit).strip(_WHITESPACE)


def decode(body: bytes, fields: dict[str, bytes], receipt: Receipt, about: About) -> Batch:
    """All events of a request. Raises RefusedError when the body as a whole holds none."""
    body = read_capture(body, fields, receipt.limits.inflated_bytes)
    envelope, parts, path = _open(body)
    named = [*receipt.candidates, *(key for key in (short(envelope.api_key), short(envelope.token)) if key)]
    app = receipt.keys.app_of(*named)
    if named and not app:
        raise receipt.keys.refusal(*named)
    lib, _, lib_version = about.sdk.partition("/")
    sent = read_sent(envelope.sent_at) or read_sent(about.sent) or _query_sent(fields)
    shared = _Shared(app, sent, envelope.historical_migration is True, short(lib), short(lib_version))
    batch = Batch(receipt.rules)
    limit = receipt.limits.batch_events
    plain = is_plain(body, receipt.limits)
    for index, raw in enumerate(parts[:limit]):
        batch.add(index, raw, path, app, decode_event, raw, shared, receipt, plain)
    refuse_overflow(batch, parts, limit, app)
    return batch


def decode_event(raw: bytes, shared: _Shared, receipt: Receipt, plain: bool) -> EventLine:
    """One event; `plain` as in `check_event`. Raises RefusedError, or one of DECODE_ERRORS."""
    raw, text = check_event(raw, receipt.limits, plain)
    found = _decode_event(raw)
    about = _decode_properties(found.properties) if is_object(found.properties) else Properties()
    own = (short(found.api_key), short(found.token), short(about.token))
    app = shared.app or receipt.keys.app_of(*own)
    if not app:
        raise receipt.keys.refusal(*own)
    options = _decode_options(found.options) if is_object(found.options) else _NO_OPTIONS
    if options.cookieless_mode is True or about.cookieless_mode is True:
        raise RefusedError(Reason.NO_PERSON, "a cookieless event says of nobody whose it is - at `$.properties.$cookieless_mode`")
    name = name_text(found.event, "$.event")
    lib = short(about.lib) or shared.lib
    identity = identify(
        name,
        distinct=id_text(found.distinct_id, "$.distinct_id") or id_text(about.distinct_id, "$.properties.distinct_id"),
        device=id_text(about.device_id, "$.properties.$device_id"),
        user=id_text(about.user_id, "$.properties.$user_id"),
        visitor=id_text(about.anon_distinct_id, "$.properties.$anon_distinct_id"),
        alias=id_text(about.alias, "$.properties.alias"),
        is_identified=about.is_identified,
        has_profile=about.process_person_profile if options.process_person_profile is None else options.process_person_profile,
        lib=lib,
    )
    device_time = _device_time(found, shared, receipt)
    explicit = shared.explicit or about.ignore_sent_at is True or options.disable_skew_correction is True
    server = about.is_server is True  # its system is the server's, not the user's
    return EventLine(
        id=_event_id(found, about, raw, device_time or receipt.received),
        app=app,
        person=identity.person,
        event=name,
        type=_TYPES.get(name, "track"),
        time=event_time(device_time, shared.sent, receipt.received, explicit),
        received=receipt.received,
        device_time=device_time,
        sent=shared.sent,
        platform="" if server else platform_of(short(about.os_name) or short(about.os), lib),
        version=short(about.app_version),
        channel=short(about.utm_source),
        props=_props(found),
        context=msgspec.Raw(b'{"options":' + bytes(found.options) + b"}") if is_object(found.options) else EMPTY,
        ids=identity.ids | _more_ids(found, about),
        merge=identity.merge,
        protocol=PROTOCOL,
        lib=lib,
        lib_version=short(about.lib_version) or shared.lib_version,
        raw=text,
    )


def results(batch: Batch) -> dict[str, dict[str, str]]:
    """What the v1 form is told: each event's own outcome by its uuid. What was set aside must not be sent again either."""
    found = {_decode_id(one.line).id: {"result": "ok"} for one in batch.accepted}
    for one in batch.refused:
        try:
            uuid = short(_decode_event(one.payload).uuid)
        except DECODE_ERRORS:
            continue
        if uuid:
            found[uuid] = {"result": "drop", "details": one.reason}
    return found


def _open(body: bytes) -> tuple[Envelope, list[bytes], str]:
    """The envelope, the events' texts, and how to name an event's place, also of a body that is broken somewhere inside."""
    if body[:1] == b"[":
        return Envelope(), elements(body), "$[{}]"
    if body[:1] != b"{":
        raise RefusedError(Reason.BAD_BODY, "expected a JSON object or array")
    try:
        found = _decode_envelope(body)
    except DECODE_ERRORS:
        members = dict(split_broken(body))
        names = ("api_key", "token", "sent_at", "historical_migration")
        found = Envelope(msgspec.Raw(members.get(b'"batch"', b"")), *(_scalar(members, name) for name in names))
    start = bytes(memoryview(found.batch)[:1])
    if start == b"[":
        return found, elements(bytes(found.batch)), "$.batch[{}]"
    if start not in (b"", b"n"):
        raise RefusedError(Reason.BAD_BODY, "expected an array - at `$.batch`")
    return found, [body], "$"


def _scalar(members: dict[bytes, bytes], name: str) -> object:
    try:
        return msgspec.json.decode(members.get(b'"' + name.encode() + b'"', b"null"))
    except DECODE_ERRORS:
        return None


def _query_sent(fields: dict[str, bytes]) -> int:
    text = field_text(fields, "_")
    return read_sent(int(text)) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def _device_time(found: PostHogEvent, shared: _Shared, receipt: Receipt) -> int:
    """The event's time; `offset` is how long before the sending it was."""
    if found.timestamp is None and isinstance(found.offset, int) and not isinstance(found.offset, bool) and found.offset >= 0:
        return max(0, (shared.sent or receipt.received) - found.offset)
    return read_time(found.timestamp, "$.timestamp")


def _event_id(found: PostHogEvent, about: Properties, raw: bytes, when: int) -> str:
    given = found.uuid if found.uuid not in (None, "") else found.messageId
    if given not in (None, ""):
        text = short(given)
        return text if not isinstance(given, str) or len(given) <= MAX_TEXT else content_id(given)
    if insert := short(about.insert_id):
        return content_id(short(found.distinct_id) or short(about.distinct_id), insert, found.event or "")
    return content_id(_SENT_AT.sub(b"", raw), when)


def _props(found: PostHogEvent) -> msgspec.Raw:
    """The properties; with the operations that stand beside them, as PostHog's own storage has it."""
    props = found.properties if is_object(found.properties) else EMPTY
    operations = zip(_OPERATIONS, (found.set, found.set_once, found.unset), strict=True)
    beside = [(name, raw) for name, raw in operations if _says_something(raw)]
    if not beside:
        return props
    members = _decode_members(props)
    for name, raw in beside:
        inside = members.get(name)
        both = inside is not None and is_object(inside) and is_object(raw)
        members[name] = msgspec.Raw(_encode(_decode_members(inside) | _decode_members(raw))) if both and inside else raw
    return msgspec.Raw(_encode(members))


def _says_something(raw: msgspec.Raw) -> bool:
    return bytes(raw) not in (b"", b"null", b"{}", b"[]")


def _more_ids(found: PostHogEvent, about: Properties) -> dict[str, str]:
    """Ids that do not say who it was."""
    told = {
        "session_id": short(about.session_id) or short(found.session_id),
        "window_id": short(about.window_id) or short(found.window_id),
        "insert_id": short(about.insert_id),
    }
    ids = {name: value for name, value in told.items() if value}
    groups = dict(list(about.groups.items())[:_MAX_GROUPS]) if isinstance(about.groups, dict) else {}
    if kind := short(about.group_type):
        groups[kind] = about.group_key
    for kind, key in groups.items():
        if text := short(key):
            ids[f"group:{kind}"[:MAX_TEXT]] = text
    return ids
