"""Which path speaks which protocol. Exact paths: SDKs of different makers differ by a slash at the end, so none is redirected."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ingest.protocols.segment import CALLS

Protocol = Literal["native", "segment", "sensors", "posthog"]


class Route(NamedTuple):
    """What a path is: the protocol, the methods it knows, and the call (the last part of a Segment path; PostHog's v1)."""

    protocol: Protocol
    methods: tuple[str, ...]
    call: str = ""


_POST = ("POST",)
_GET_POST = ("GET", "POST")

ROUTES: dict[str, Route] = {
    "/v1/events": Route("native", _POST),
    **{f"/v1/{call}": Route("segment", _POST, call) for call in ("batch", "b", "import", *CALLS)},
    "/beacon/v1/batch": Route("segment", _POST, "batch"),
    "/sa": Route("sensors", _GET_POST),
    "/sa.gif": Route("sensors", _GET_POST),
    "/debug": Route("sensors", _GET_POST),
    "/batch/": Route("posthog", _POST),  # without the slash it is Amplitude's
    **{f"/{path}{slash}": Route("posthog", _GET_POST) for path in ("capture", "e", "i/v0/e", "track") for slash in ("/", "")},
    **dict.fromkeys(("/i/v1/analytics/events", "/i/v1/analytics/events/"), Route("posthog", _POST, "v1")),
}
