"""From an HTTP request to what must be made safe before it is answered, and the answer then. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from ingest import answers
from ingest.answers import Answer
from ingest.contract.rejected import MAX_REQUEST_PAYLOAD_BYTES, Rejected, payload_fields
from ingest.inflate import inflate
from ingest.keys import Keys, KeyUse, authorization_key
from ingest.limits import Limits
from ingest.protocols import Accepted, Batch, Concealer, EventRule, Receipt, native, posthog, segment, sensors
from ingest.protocols.sensors_form import field_text, read_body, read_fields, read_payload
from ingest.reasons import Reason, Refusal, RefusedError
from ingest.resubmit import HEADERS_OF_PERSONS, KEPT_HEADERS, REJECTION_HEADER, again_of, kept_envelope, kept_query
from ingest.routes import Route
from ingest.tracking import Label

_JSON_LINES = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines", "application/json-lines")
_encode_rejected = msgspec.json.Encoder().encode
#: How many times as large as the request the records of its refused events may be, and what they may come to in any case.
_MOST_GROWTH = 8
_LEAST_ROOM = 256 * 1024


class Request(NamedTuple):
    """A request.

    cut      the body was longer than allowed, and only its beginning is there
    address  the client's; "" where it is not known
    foreign  it was sent by a web page that may not send
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    cut: bool = False
    address: str = ""
    foreign: bool = False


class Intake(NamedTuple):
    """What became of a request.

    accepted   event lines, to be made safe
    rejected   records for the rejected topic, likewise
    refused    the same as the rejected, for counting
    answer     to be given once all that is safe
    violations what the tracking plan says of the events, accepted or not, for counting
    charge     what each write key (by its digest) owes for it, in events
    """

    accepted: list[Accepted]
    rejected: list[bytes]
    refused: list[Refusal]
    answer: Answer
    violations: Sequence[Label] = ()
    charge: Mapping[bytes, int] = {}


def take(
    request: Request,
    route: Route,
    keys: Keys,
    limits: Limits,
    received: int,
    rules: tuple[EventRule, ...] = (),
    conceal: Concealer | None = None,
) -> Intake:
    """Reads a request that came at `received` (ms); `rules` are applied to each event, `conceal` to what is refused.

    Never raises for what somebody sent.
    """
    fields = read_fields(request.query.encode("utf-8", "surrogatepass")) if request.query else {}
    used = KeyUse(keys)
    receipt = Receipt(received, used, limits, _candidates(request, route, fields), rules, conceal)
    again = again_of(request.headers, received)
    if again is not None:  # decoded as if it came when it first did; the rule then says when it came
        receipt = receipt._replace(received=again.first, rules=(*rules, again.stamp))
    try:
        batch = _decode(request, route, fields, receipt)
    except RefusedError as error:
        refusal = Refusal(-1, error.reason, error.detail, _payload(request), error.app or keys.owner_of(*receipt.candidates))
        return _refused_whole(request, route, receipt, refusal)._replace(charge=used.charge(1, *receipt.candidates))
    accepted, refused = batch.accepted, batch.refused
    kept = [] if again is not None else refused  # what is sent again is kept already, and who sends it is told
    rejected = _records(kept, request, route, receipt) if kept else []
    charge = used.charge(len(accepted) + len(refused) + batch.beyond, *receipt.candidates)
    return Intake(accepted, rejected, refused, _answer(request, route, batch), batch.violations, charge)


def unforeseen(
    request: Request,
    route: Route,
    keys: Keys,
    limits: Limits,
    received: int,
    error: Exception,
    conceal: Concealer | None = None,
) -> Intake:
    """What becomes of a request that a fault of ours kept from being read: it is set aside whole."""
    receipt = Receipt(received, keys, limits, _candidates(request, route, {}), conceal=conceal)
    app = keys.app_of(*receipt.candidates)
    refusal = Refusal(-1, Reason.UNFORESEEN, type(error).__name__, _payload(request), app)
    return _refused_whole(request, route, receipt, refusal)


def _decode(request: Request, route: Route, fields: dict[str, bytes], receipt: Receipt) -> Batch:
    limits = receipt.limits
    if request.foreign:
        origin = _clean(request.headers.get("Origin", ""))
        raise RefusedError(Reason.BAD_ORIGIN, f"pages of {origin} may not send: collector.cors_origins does not have it")
    if request.cut:
        raise RefusedError(Reason.TOO_LARGE, f"the body is larger than {limits.body_bytes} bytes")
    if route.protocol == "native":
        app = receipt.keys.app_of(*receipt.candidates)
        if not app:
            why = receipt.keys.refusal(*receipt.candidates)
            raise RefusedError(why.reason, f"{why.detail}: send one as `Authorization: Bearer <key>` or X-Write-Key")
        body = inflate(request.body, request.headers.get("Content-Encoding", ""), limits.inflated_bytes)
        lines = request.headers.get("Content-Type", "").partition(";")[0].strip().lower() in _JSON_LINES
        return native.decode(body, app, receipt, lines)
    body = inflate(request.body, request.headers.get("Content-Encoding", ""), limits.inflated_bytes)
    if route.protocol == "segment":
        return segment.decode(body, route.call, receipt, request.headers.get("AnonymousId", ""))
    if route.protocol == "posthog":
        about = posthog.About(request.headers.get("PostHog-Sdk-Info", ""), request.headers.get("PostHog-Request-Timestamp", ""))
        return posthog.decode(body, fields, receipt, about)
    payload = read_payload(fields, limits.inflated_bytes)
    if payload is None and request.method != "GET":
        payload = read_body(body, limits.inflated_bytes)
        if payload is None:
            raise RefusedError(Reason.BAD_BODY, "no data and no data_list")
    return sensors.decode(payload, receipt) if payload is not None else Batch()


def _candidates(request: Request, route: Route, fields: dict[str, bytes]) -> tuple[str, ...]:
    """The keys that header and query name, in the order in which they are tried."""
    headers = request.headers
    found = [authorization_key(headers.get("Authorization", "")), headers.get("X-Write-Key", "")]
    if fields:
        found += [field_text(fields, name) for name in ("key", "writeKey", "api_key", "token", "project")]
    return tuple(key for key in found if key)


def _answer(request: Request, route: Route, batch: Batch) -> Answer:
    if route.protocol == "native" or REJECTION_HEADER in request.headers:  # who sends again wants to know
        return answers.native(len(batch.accepted), batch.refused)
    if route.protocol == "posthog" and route.call == "v1":
        return answers.posthog_v1(posthog.results(batch))
    return _ok(request, route)


def _ok(request: Request, route: Route) -> Answer:
    if route.protocol == "segment":
        return answers.SEGMENT_OK
    if route.protocol == "posthog":
        return answers.posthog_v1({}) if route.call == "v1" else answers.POSTHOG_OK
    return answers.SENSORS_GIF if request.method == "GET" else answers.SENSORS_OK


def _refused_whole(request: Request, route: Route, receipt: Receipt, refusal: Refusal) -> Intake:
    if route.protocol == "native" or REJECTION_HEADER in request.headers:
        answer = answers.native_refusal(refusal.reason, refusal.detail)
        if answer.status != 400 or REJECTION_HEADER in request.headers:
            return Intake([], [], [refusal], answer)  # the client knows, and has it still
    else:
        answer = _ok(request, route)
    return Intake([], [_encode_rejected(rejected_of(refusal, request, route, receipt))], [refusal], answer)


def _records(refused: list[Refusal], request: Request, route: Route, receipt: Receipt) -> list[bytes]:
    """A record for each, or the request as it came where they would be many times as large: a small compressed body may hold very
    many events that cannot be accepted. Sent again, those that were accepted change nothing."""
    room = max(_LEAST_ROOM, _MOST_GROWTH * len(_payload(request)))
    if sum(len(one.payload) for one in refused) <= room:
        envelope = _envelope(request, receipt)
        records = []
        for one in refused:
            records.append(_encode_rejected(rejected_of(one, request, route, receipt, envelope)))
            room -= len(records[-1])
            if room < 0:
                break
        else:
            return records
    first = refused[0]
    detail = f"{len(refused)} events, the first: {first.detail}"
    whole = Refusal(-1, first.reason, detail, _payload(request), first.app or receipt.keys.owner_of(*receipt.candidates))
    return [_encode_rejected(rejected_of(whole, request, route, receipt))]


def _payload(request: Request) -> bytes:
    """What came: the body, or the query of a request that has none."""
    return request.body or request.query.encode("utf-8", "surrogatepass")


def rejected_of(refusal: Refusal, request: Request, route: Route, receipt: Receipt, envelope: str = "") -> Rejected:
    """The record for the rejected topic; `envelope` is what the request said of all its events."""
    query = kept_query(request.query) if request.query and request.method != "GET" else ""
    if receipt.conceal is not None:
        refusal = receipt.conceal(refusal, receipt.received)
        if refusal.privacy:
            masked = refusal.privacy == "masked" and refusal.index >= 0 and envelope
            of_all = msgspec.structs.replace(refusal, payload=envelope.encode()) if masked else None
            envelope = receipt.conceal(of_all, receipt.received).payload.decode() if of_all is not None else ""
            query = ""
    payload, encoding, truncated = payload_fields(refusal.payload, MAX_REQUEST_PAYLOAD_BYTES)
    context = {"protocol": route.protocol, "path": request.path, "method": request.method}
    if refusal.privacy:
        context["privacy"] = refusal.privacy
    if refusal.index >= 0:
        context["index"] = str(refusal.index)
    if refusal.index >= 0 and envelope:
        context["envelope"] = envelope
    if query:
        context["query"] = query
    for name, header in KEPT_HEADERS.items():
        if (value := request.headers.get(header)) and (receipt.conceal is None or header not in HEADERS_OF_PERSONS):
            context[name] = _clean(value)
    if refusal.reason in (Reason.UNKNOWN_KEY, Reason.REVOKED_KEY) and receipt.candidates:
        context["key"] = _clean(receipt.candidates[0][:64])
    return Rejected(
        at=receipt.received,
        stage="collector",
        reason=refusal.reason,
        detail=answers.cut(refusal.detail),
        app=refusal.app,
        payload=payload,
        encoding=encoding,
        truncated=truncated or request.cut,
        context=context,
    )


def _envelope(request: Request, receipt: Receipt) -> str:
    """What the request said of all its events."""
    try:
        return kept_envelope(inflate(request.body, request.headers.get("Content-Encoding", ""), receipt.limits.inflated_bytes))
    except RefusedError:
        return ""


def _clean(text: str) -> str:
    """A header's value as text that can be encoded: aiohttp keeps bytes that are no UTF-8 as lone surrogates."""
    return text[:256].encode("utf-8", "replace").decode()
