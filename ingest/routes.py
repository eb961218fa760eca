"""Which path speaks which protocol. Exact paths: SDKs of different makers differ by a slash at the end, so none is redirected."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ingest.protocols.segment import CALLS

Protocol = Literal["native", "segment", "sensors"]


class Route(NamedTuple):
    """What a path is: the protocol, the methods it knows, and the call (the last part of a Segment path)."""

    protocol: Protocol
    methods: tuple[str, ...]
    call: str = ""


_POST = ("POST",)
_GET_POST = ("GET", "POST")

ROUTES: dict[str, Route] = {
    "/v1/events": Route("native", _POST),
    **{f"/v1/{call}": Route("segment", _POST, call) for call in ("batch", "b", "import", *CALLS)},
    "/sa": Route("sensors", _GET_POST),
    "/sa.gif": Route("sensors", _GET_POST),
    "/debug": Route("sensors", _GET_POST),
}
