"""What was rejected, sent again: what has to be kept for it, the request that does it, and what makes it the same event. Pure.

An event that is sent again keeps the instant at which it first came: its time is corrected by that, and an id made of its content
is the same each time, so that doing it twice changes nothing. Its receipt is the new one: whether it is too late to count is
decided by that. What is refused again is not kept a second time: it is there already, and the answer says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

import msgspec

from ingest.contract.event import Event
from ingest.contract.rejected import REJECTION_ID, Rejected, Resend, payload_of
from ingest.json_text import DECODE_ERRORS, split_broken
from ingest.line import EventLine

REJECTION_HEADER = "X-Footfall-Rejection"
FIRST_HEADER = "X-Footfall-First-Received"
#: As long as rejected lines are kept: what is older was made up.
_MAX_AGE_MS = 31 * 86_400_000
_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)
_MS = re.compile(r"[0-9]{1,15}", re.ASCII)
#: What else a request said in its headers, by its name in the context, and what of it names a person.
KEPT_HEADERS = {
    "content_type": "Content-Type",
    "content_encoding": "Content-Encoding",
    "user_agent": "User-Agent",
    "visitor": "AnonymousId",
    "sdk_info": "PostHog-Sdk-Info",
    "sent_at": "PostHog-Request-Timestamp",
}
HEADERS_OF_PERSONS = frozenset({"AnonymousId"})
_OF_THE_BODY = ("content_type", "content_encoding")
_OF_ITS_EVENTS = ("visitor", "sdk_info", "sent_at")
#: Fields of queries and envelopes that are keys, or the events themselves.
_NOT_KEPT = frozenset({"key", "writeKey", "api_key", "token", "project", "data", "data_list", "batch"})
_MAX_KEPT = 4096
_BATCH_CALLS = ("batch", "b", "import")
#: Of an event line, what the native endpoint takes by the same name.
_SAME = ("id", "event", "type", "time", "platform", "version", "channel", "duration", "props", "context", "lib", "lib_version")
_event = msgspec.json.Decoder(Event)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode


class Again(NamedTuple):
    """A request that was sent before: the rejection's id, when it came first and when it came now (ms)."""

    rejection: str
    first: int
    now: int

    def stamp(self, event: EventLine) -> None:
        """A rule for its events: it was received now, and says what it was sent again after."""
        event.received = self.now
        event.ids = event.ids | {REJECTION_ID: self.rejection}


class CannotResendError(Exception):
    """It cannot be sent again as it is; the message says why."""


def again_of(headers: Mapping[str, str], now: int) -> Again | None:
    """What a request says of having been sent before; None for one that has not, or that says what cannot be."""
    rejection = headers.get(REJECTION_HEADER)
    if rejection is None or not _ID.fullmatch(rejection):
        return None
    first = headers.get(FIRST_HEADER, "")
    if not _MS.fullmatch(first) or not now - _MAX_AGE_MS <= int(first) <= now:
        return None
    return Again(rejection, int(first), now)


def kept_query(query: str) -> str:
    """Of a query what a request needs when it is sent again; not the keys, nor the events. "" where that is no query."""
    try:
        kept = urlencode([pair for pair in parse_qsl(query, max_num_fields=200) if pair[0] not in _NOT_KEPT])
    except ValueError:  # more fields than that, or a lone surrogate
        return ""
    return kept if len(kept) <= _MAX_KEPT else ""


def kept_envelope(body: bytes) -> str:
    """Of a batch what was said of all its events (when it was sent), as a JSON object; "" for a body that is no such batch."""
    if body.lstrip()[:1] != b"{":
        return ""
    try:
        found: dict[str, Any] = dict(_members.decode(body))
    except DECODE_ERRORS:
        found = _readable(split_broken(body))
    if "batch" not in found:
        return ""
    kept = _encode({name: value for name, value in found.items() if name not in _NOT_KEPT})
    return kept.decode("utf-8", "replace") if len(kept) <= _MAX_KEPT else ""


def _readable(members: Iterable[tuple[bytes, bytes]]) -> dict[str, Any]:
    """Of a broken object the members that are whole; `batch` in any case."""
    found: dict[str, Any] = {}
    for key, value in members:
        try:
            name = msgspec.json.decode(key, type=str)
            found[name] = None if name == "batch" else msgspec.json.decode(value)
        except DECODE_ERRORS:
            continue
    return found


def resend(row: Rejected, rejection: str) -> Resend:
    """The request that sends a rejected row again. Raises CannotResendError."""
    if row.truncated:
        raise CannotResendError("only its beginning was kept")
    if row.context.get("privacy") == "dropped":
        raise CannotResendError("the privacy rules let nothing of it be kept")
    payload = payload_of(row)
    headers = {REJECTION_HEADER: rejection, FIRST_HEADER: str(row.at)}
    if row.stage == "worker":
        return _line_again(payload, headers)
    if row.stage != "collector":
        raise CannotResendError("it lies in Kafka and has been counted; only ClickHouse refused it")
    method, path = row.context.get("method", "POST"), row.context.get("path", "")
    headers |= {KEPT_HEADERS[name]: row.context[name] for name in _OF_ITS_EVENTS if name in row.context}
    if "index" in row.context:
        return _event_again(row, payload, headers | {"Content-Type": "application/json"})
    headers |= {KEPT_HEADERS[name]: row.context[name] for name in _OF_THE_BODY if name in row.context}
    if method == "GET":
        return Resend("GET", path, row.payload, headers, b"")
    return Resend(method, path, row.context.get("query", ""), headers, payload)


def _event_again(row: Rejected, payload: bytes, headers: dict[str, str]) -> Resend:
    """One event of a request, or an array of those that were too many."""
    protocol, path = row.context.get("protocol", ""), row.context.get("path", "")
    events = payload if payload[:1] == b"[" else b"[" + payload + b"]"
    rest = row.context.get("envelope", "{}").encode().strip()[1:-1]
    batch = b'{"batch":' + events + (b"," + rest if rest else b"") + b"}"
    if protocol == "native":
        return Resend("POST", "/v1/events", "", headers, payload)
    if protocol == "sensors":
        return Resend("POST", "/sa", "", headers, payload)
    if protocol == "segment":
        in_batch = path.rpartition("/")[2] in _BATCH_CALLS
        return Resend("POST", path, "", headers, batch if in_batch else payload)
    if protocol == "posthog":
        return Resend("POST", "/batch/", "", headers, batch)
    raise CannotResendError(f'nothing is known of the protocol "{protocol}"')


def _line_again(line: bytes, headers: dict[str, str]) -> Resend:
    """An event line that the worker could not count, as an event for the native endpoint."""
    try:
        event = _event.decode(line)
    except DECODE_ERRORS as error:
        raise CannotResendError(f"it is no event line: whoever wrote it into Kafka has to send it again ({error})") from error
    kind, _, name = event.person.partition(":")
    if kind not in ("u", "a") or not name:
        raise CannotResendError(f'"{event.person}" is no person: whoever wrote it into Kafka has to send it again')
    ids = {key: value for key, value in event.ids.items() if key not in ("user_id", "anonymous_id", "previous_id")}
    found: dict[str, Any] = {name: getattr(event, name) for name in _SAME} | {"ids": ids}
    found["user_id" if kind == "u" else "anonymous_id"] = name
    if event.merge is not None:
        if event.type not in ("identify", "alias"):
            raise CannotResendError(f"the native endpoint cannot tell what a {event.type} does: send it again from where it came")
        other = event.merge.source if event.merge.target == event.person else event.merge.target
        found["previous_id" if event.type == "alias" else "anonymous_id"] = other.partition(":")[2]
    return Resend("POST", "/v1/events", "", headers | {"Content-Type": "application/json"}, _encode(found))
