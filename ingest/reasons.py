"""Why something was not accepted: a closed list, so that it can be counted, explained and mended."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Reason(StrEnum):
    """The codes that stand in `Rejected.reason` for the stage `collector`."""

    UNKNOWN_KEY = "unknown_key"  #: no app of the plan has this write key
    REVOKED_KEY = "revoked_key"  #: the write key was withdrawn (apps.revoked_keys)
    BAD_ORIGIN = "bad_origin"  #: sent by a web page whose origin is not in collector.cors_origins
    BAD_BODY = "bad_body"  #: the request as a whole holds no events: not JSON, no such envelope, not base64
    BAD_ENCODING = "bad_encoding"  #: the body cannot be decompressed
    BAD_JSON = "bad_json"  #: the event is no JSON: syntax, invalid UTF-8, a lone surrogate, NaN, a number beyond a double
    BAD_EVENT = "bad_event"  #: JSON, but not an event: a field is missing, unknown, or of another type
    BAD_TIME = "bad_time"  #: the event's time is no instant between 1970 and 2100, or in another unit
    NO_PERSON = "no_person"  #: it does not say whose event it is
    TOO_LARGE = "too_large"  #: the body (compressed or not), the event, a name or a text in it is larger than allowed
    TOO_DEEP = "too_deep"  #: objects and arrays inside each other beyond the limit
    TOO_MANY = "too_many"  #: events of a batch, or properties of an object, beyond the limit
    PLAN = "plan"  #: against the tracking plan, in an app that rejects that
    ENCRYPTED = "encrypted"  #: an encrypted envelope, to which Footfall has no key
    UNFORESEEN = "unforeseen"  #: a fault of ours in reading it; the collector's log has the details


class Refusal(msgspec.Struct, frozen=True):
    """Something that was not accepted.

    index    its place among the events of the request, from 0; -1 for the request as a whole
    detail   the words, with the path into the JSON
    payload  the bytes as they came
    app      the app's id as far as it is known
    privacy  what the privacy rules made of the payload: masked, dropped, or "" for nothing
    """

    index: int
    reason: Reason
    detail: str
    payload: bytes
    app: str = ""
    privacy: str = ""


class RefusedError(Exception):
    """Raised inside a decoder for one event, or for the whole body; the caller makes a Refusal of it. `app`: where it is known
    only here."""

    def __init__(self, reason: Reason, detail: str, app: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.app = app
