"""Every reason there is: through a running collector into the rejected topic, verbatim, with where it was and why."""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec
import pytest

from deploy.kafka.broker import LocalBroker
from deploy.kafka.topics import create_topics
from ingest.contract.plan import App
from ingest.contract.rejected import payload_of
from ingest.contract.tracking import EventSchema, PropertySchema
from ingest.line import EventLine
from ingest.reasons import Reason
from tests.ingest.conftest import settings_on
from tests.ingest.running import RunningCollector

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]


class Case(NamedTuple):
    """A request, what is kept of it ({} stands for a text of this run's own), and words of the detail."""

    path: str
    body: str | bytes
    detail: str
    payload: str | bytes = "{}"
    headers: Mapping[str, str] = {}
    key: str = "WRITEKEY_seg"
    app: str = "bank"
    status: int = 200


SEGMENT = '{"batch":[{"type":"track","event":"ok","userId":"1"},{}],"sentAt":"2026-11-22T05:30:14Z"}'
CALL = '{"type":"track","event":"e","userId":"1","messageId":"{}"%s}'
BROKEN_GZIP = gzip.compress(b"x" * 100, mtime=0)[:20]

CASES = {
    Reason.UNKNOWN_KEY: Case("/v1/batch", SEGMENT, "write key", SEGMENT, key="nobodys-key", app=""),
    Reason.REVOKED_KEY: Case("/v1/batch", SEGMENT, "was revoked", SEGMENT, key="old-key", app="strict"),
    Reason.BAD_ORIGIN: Case("/v1/batch", SEGMENT, "https://evil.example", SEGMENT, {"Origin": "https://evil.example"}),
    Reason.BAD_BODY: Case("/v1/batch", '{"batches":"{}"}', "`batch`"),
    Reason.BAD_ENCODING: Case("/v1/batch", BROKEN_GZIP, "cut off", BROKEN_GZIP),
    Reason.BAD_JSON: Case("/v1/batch", SEGMENT.replace("{}", CALL % ',"x":1e999'), "`$.batch[1]`", CALL % ',"x":1e999'),
    Reason.BAD_EVENT: Case("/v1/batch", SEGMENT.replace("{}", CALL.replace('"e"', "7") % ""), "`$.batch[1].event`"),
    Reason.BAD_TIME: Case("/v1/events", '{"event":"e","user_id":"{}","time":"noon"}', "`$.time`", status=400),
    Reason.NO_PERSON: Case("/v1/track", '{"event":"e","messageId":"{}"}', "neither userId nor anonymousId"),
    Reason.TOO_LARGE: Case("/sa?token=SA_TOKEN", '{"type":"track","event":"{}' + "x" * 70_000 + '"}', "at most 65536"),
    Reason.TOO_DEEP: Case("/v1/batch", SEGMENT.replace("{}", CALL % (',"x":' + "[" * 70 + "]" * 70)), "`$.batch[1]`"),
    Reason.TOO_MANY: Case(
        "/v1/batch",
        '{"batch":[' + '{"type":"track","event":"e","userId":"1"},' * 1000 + CALL % "" + "]}",
        "at most 1000",
        "[" + CALL % "" + "]",
    ),
    Reason.PLAN: Case(
        "/v1/events", '{"event":"pay","user_id":"{}","props":{"amount":"1"}}', "`$.props.amount`", app="strict", status=400
    ),
    Reason.ENCRYPTED: Case("/sa?project=SA_TOKEN", '{"ekey":"k","pkv":1,"payload":"{}"}', "encrypted"),
    Reason.UNFORESEEN: Case("/v1/events", '{"event":"fault","user_id":"{}"}', "ZeroDivisionError", status=400),
}


@pytest.fixture(scope="module")
def faulty(broker: LocalBroker) -> Iterator[RunningCollector]:
    """A collector with a plan, and with a fault: it stumbles over the event `fault`."""
    settings = settings_on(broker.bootstrap, "c-rejected-reasons")
    strict = App(id="strict", write_keys=["strict-key"], revoked_keys=["old-key"], plan_violations="reject")
    schema = EventSchema(name="pay", apps=["strict"], properties={"amount": PropertySchema(type="number", required=True)})
    settings = msgspec.structs.replace(
        settings,
        apps=[*settings.apps, strict],
        events=[schema],
        collector=msgspec.structs.replace(settings.collector, cors_origins=["https://www.bank.example"]),
    )
    create_topics(settings)

    def stumble(event: EventLine) -> None:
        if event.event == "fault":
            print(1 / 0)

    with RunningCollector(settings) as running:
        running.wait_until_ready()
        server = running.server
        server.policy = server.policy._replace(rules=(*server.policy.rules, stumble))
        yield running


def filled(value: str | bytes, own: str) -> bytes:
    return value.replace("{}", own).encode() if isinstance(value, str) else value


@pytest.mark.parametrize("reason", list(Reason))
def test_each_reason_is_kept_whole_and_explained(faulty: RunningCollector, reason: Reason) -> None:
    assert reason in CASES, f"no case for {reason}: add the request that leads to it"
    case = CASES[reason]
    own = uuid.uuid4().hex
    key = "strict-key" if reason is Reason.PLAN else case.key
    headers = {"Authorization": f"Bearer {key}", "User-Agent": "sdk/1", **case.headers}
    if "?" in case.path:
        del headers["Authorization"]
    reply = faulty.ask(case.path, filled(case.body, own), headers)
    assert reply.status == case.status, reply.body
    row = faulty.rejected()[-1]
    assert (row.stage, row.reason, row.app, row.truncated) == ("collector", reason, case.app, False)
    assert case.detail in row.detail
    kept = payload_of(row)
    whole = filled(case.body, own)
    if case.payload != "{}":
        assert kept == filled(case.payload, own)
    else:
        assert own.encode() in kept
        assert kept in whole
    assert row.context["protocol"] in ("native", "segment", "sensors")
    assert (row.context["path"], row.context["method"]) == (case.path.partition("?")[0], "POST")
    assert row.context["user_agent"] == "sdk/1"
    assert "WRITEKEY" not in json.dumps(row.context)
    assert "TOKEN" not in json.dumps(row.context)
    if reason in (Reason.BAD_JSON, Reason.BAD_EVENT, Reason.TOO_DEEP):
        assert (row.context["index"], row.context["envelope"]) == ("1", '{"sentAt":"2026-11-22T05:30:14Z"}')


def test_every_reason_has_a_case_and_no_case_is_of_a_reason_that_is_gone() -> None:
    assert set(CASES) == set(Reason)


def test_a_query_is_kept_without_keys_and_without_the_events(faulty: RunningCollector) -> None:
    faulty.ask("/sa?project=SA_TOKEN&v=1&data=e30%3D&nocache=7", b"!", {})
    faulty.ask("/sa.gif?token=SA_TOKEN&data=%21%21", None, {})
    body, beacon = faulty.rejected()[-2:]
    assert (body.context["query"], body.app) == ("v=1&nocache=7", "bank")
    assert (beacon.payload, beacon.context["method"]) == ("token=SA_TOKEN&data=%21%21", "GET")


def test_violations_are_counted_by_names_of_the_plan(faulty: RunningCollector) -> None:
    text = 'footfall_collector_plan_violations_total{app="strict",event="%s",property="%s",rule="%s"}'
    typed, unknown = text % ("pay", "amount", "type"), text % ("other", "", "unknown_event")
    before = faulty.metric(typed), faulty.metric(unknown)
    events = [{"event": "pay", "user_id": "1", "props": {"amount": "x"}}, {"event": uuid.uuid4().hex, "user_id": "1"}]
    assert faulty.send(*events, key="strict-key").json()["accepted"] == 1
    assert (faulty.metric(typed), faulty.metric(unknown)) == (before[0] + 1, before[1] + 1)
