"""What the collector answers. One policy for all SDKs, because each of them loses or blocks something on any other:

* safe, or set aside with its reason: exactly 200 (some SDKs send a 202 again; a 4xx makes mobile SDKs delete, and others resend
  for ever)
* cannot be made safe now: 503 with Retry-After, never 429 or 4xx
* too much at once: the same 503 with the time to wait, where a 429 would make SDKs drop what they hold
* an error in JSON always has `code` and `message`: an SDK raises KeyError, and sends again, when one is missing

The native endpoint is for programmers: it says 400, 401, 403, 413 and 429 where that is what happened.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from ingest.reasons import Reason, Refusal

JSON = "application/json"
_GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_NO_STORE = {"Cache-Control": "no-store"}
RETRY_AFTER_S = 2
_MAX_WAIT_S = 3600
_MAX_DETAIL = 500


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = {}


SEGMENT_OK = Answer(200, JSON, b'{"success":true}')
POSTHOG_OK = Answer(200, JSON, b'{"status":"Ok"}')
SENSORS_OK = Answer(200, "text/plain; charset=utf-8", b"")
SENSORS_GIF = Answer(200, "image/gif", _GIF, _NO_STORE)
_encode = msgspec.json.Encoder().encode


def error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """An error in JSON."""
    return Answer(status, JSON, _encode({"code": code, "message": message}), headers or {})


def unavailable(message: str) -> Answer:
    """Not safe: send it again."""
    return error(503, "unavailable", message, {"Retry-After": str(RETRY_AFTER_S)})


def posthog_v1(results: Mapping[str, Mapping[str, str]]) -> Answer:
    """PostHog's v1 form wants to hear of each event by its uuid."""
    return Answer(200, JSON, _encode({"results": results}))


def limited(native: bool, wait_s: float, message: str) -> Answer:
    """Too much at once: send it again when that time has passed. SDKs lose events by a 429, and come again after a 503."""
    headers = {"Retry-After": str(min(_MAX_WAIT_S, max(1, math.ceil(wait_s))))}
    return error(429, "limited", message, headers) if native else error(503, "limited", message, headers)


def native(accepted: int, refused: Sequence[Refusal]) -> Answer:
    """What became of a request to the native endpoint: 400 when nothing was good."""
    rejected = [{"index": one.index, "reason": one.reason, "detail": cut(one.detail)} for one in refused]
    if refused and not accepted:
        found: dict[str, object] = {
            "code": "bad_events",
            "message": f"none of the events is good: {cut(refused[0].detail)}",
            "accepted": 0,
            "rejected": rejected,
        }
        return Answer(400, JSON, _encode(found))
    return Answer(200, JSON, _encode({"accepted": accepted, "rejected": rejected}))


def native_refusal(reason: Reason, detail: str) -> Answer:
    """The request as a whole is refused at the native endpoint."""
    if reason in (Reason.UNKNOWN_KEY, Reason.REVOKED_KEY):
        return error(401, reason, detail, {"WWW-Authenticate": 'Bearer realm="footfall"'})
    if reason is Reason.BAD_ORIGIN:
        return error(403, reason, cut(detail))
    return error(413 if reason in (Reason.TOO_LARGE, Reason.TOO_MANY) else 400, reason, cut(detail))


def cut(detail: str) -> str:
    """Words that may hold what somebody sent, at a bearable length."""
    return detail if len(detail) <= _MAX_DETAIL else detail[: _MAX_DETAIL - 1] + "…"
