"""What the tests of ingest share: requests without a network, and lines read back as the contract has them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from multidict import CIMultiDict

from ingest.contract.event import Event, check_line
from ingest.contract.plan import App
from ingest.contract.rejected import Rejected
from ingest.contract.settings import CollectorSettings
from ingest.intake import Intake, Request, take
from ingest.keys import Keys
from ingest.limits import Limits, limits_of
from ingest.protocols import Batch, Receipt
from ingest.routes import ROUTES

CAPTURES = Path(__file__).parent / "captures"
NOW = 1_795_330_000_000
KEYS = Keys(
    [
        App(id="bank", write_keys=["WRITEKEY_seg", "WRITEKEY_rud", "SA_TOKEN", "phc_TOKEN", "phc_TOKEN2"]),
        App(id="p3", write_keys=["tk3"]),
    ]
)
LIMITS = limits_of(CollectorSettings())
_event = msgspec.json.Decoder(Event)
_rejected = msgspec.json.Decoder(Rejected)


def receipt(received: int = NOW, limits: Limits = LIMITS, candidates: tuple[str, ...] = ("WRITEKEY_seg",)) -> Receipt:
    """A receipt with a known key."""
    return Receipt(received, KEYS, limits, candidates)


def events(batch: Batch | Intake) -> list[Event]:
    """The accepted lines, as every reader after us sees them."""
    for one in batch.accepted:
        assert b"\n" not in one.line
        check_line(one.line)
    return [_event.decode(one.line) for one in batch.accepted]


def only(batch: Batch) -> Event:
    """The one event of a batch without refusals."""
    assert batch.refused == []
    (event,) = events(batch)
    return event


def rejections(intake: Intake) -> list[Rejected]:
    """The records for the rejected topic."""
    return [_rejected.decode(record) for record in intake.rejected]


def post(
    path: str,
    body: bytes | object = b"",
    *,
    headers: Mapping[str, str] | None = None,
    query: str = "",
    key: str = "WRITEKEY_seg",
    method: str = "POST",
    limits: Limits = LIMITS,
    received: int = NOW,
) -> Intake:
    """What the collector makes of a request."""
    raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    found = {"Authorization": f"Bearer {key}"} if key else {}
    return take(Request(method, path, query, found | dict(headers or {}), raw), ROUTES[path], KEYS, limits, received)


def basic(user: str) -> str:
    """An Authorization header as Segment's SDKs write it."""
    return "Basic " + base64.b64encode(f"{user}:".encode()).decode()


def captured(name: str) -> list[dict[str, Any]]:
    """The event requests of a capture: without preflights, settings and feature flags."""
    found: list[dict[str, Any]] = json.loads((CAPTURES / f"{name}.json").read_text())
    return [one for one in found if one["method"] != "OPTIONS" and one["path"] in ROUTES]


def replay(request: dict[str, Any], received: int = NOW) -> Intake:
    """What the collector makes of a captured request."""
    headers = CIMultiDict(request["headers"])
    body = base64.b64decode(request["body_base64"])
    asked = Request(request["method"], request["path"], request["query"], headers, body)
    return take(asked, ROUTES[request["path"]], KEYS, LIMITS, received)
