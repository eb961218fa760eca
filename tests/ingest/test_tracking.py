"""Events against the tracking plan: what is found, what is kept, what is refused, and that both ways of looking agree."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as some

from ingest.contract.errors import ConfigError
from ingest.contract.settings import Settings, read_settings
from ingest.contract.tracking import RULES, EventSchema
from ingest.intake import Intake, Request, take
from ingest.keys import Keys
from ingest.limits import limits_of
from ingest.reasons import Reason
from ingest.routes import ROUTES
from ingest.rules import rules_of
from ingest.tracking import MAX_VIOLATIONS, Check, Label
from tests.ingest.helpers import NOW, events, rejections

APPS = """
[[apps]]
id = "keeps"
write_keys = ["key-keeps"]

[[apps]]
id = "rejects"
write_keys = ["key-rejects"]
plan_violations = "reject"
unknown_events = "reject"
"""
PAY = """
[[events]]
name = "pay"
[events.properties]
amount = { type = "number", required = true, min = 0, max = 1_000_000 }
parts = { type = "integer", min = 1 }
channel = { type = "string", values = ["app", "web"] }
step = { type = "integer", values = [1, 2, 3] }
iban = { type = "string", pattern = "^[A-Z]{2}[0-9]+$" }
at = { type = "time" }
ok = { type = "boolean" }
items = { type = "list" }
place = { type = "object" }
"名称 with.dots" = { type = "string" }

[[events]]
name = "old"
deprecated = true
since = "9.2.0"
instead = "pay"

[[events]]
name = "tight"
apps = ["keeps"]
closed = true
[events.properties]
a = { type = "string" }
"""
GOOD: dict[str, Any] = {
    "amount": 12,
    "parts": 1,
    "channel": "web",
    "step": 2,
    "iban": "DE12",
    "at": "2026-11-22T05:30:14Z",
    "ok": True,
    "items": [1],
    "place": {},
    "名称 with.dots": "",
}


def settings(text: str = PAY) -> Settings:
    return read_settings(APPS + text, {})


def schema(name: str, text: str = PAY) -> EventSchema:
    return next(one for one in settings(text).events if one.name == name)


def found(props: object, name: str = "pay") -> list[str]:
    return Check(schema(name)).violations(msgspec.Raw(msgspec.json.encode(props)))


def sent(path: str, body: object, key: str = "key-keeps", text: str = PAY) -> Intake:
    plan = settings(text)
    request = Request("POST", path, "", {"Authorization": f"Bearer {key}"}, json.dumps(body).encode())
    return take(request, ROUTES[path], Keys(plan.apps), limits_of(plan.collector), NOW, rules_of(plan))


def test_an_event_as_it_should_be_has_no_violations() -> None:
    assert found(GOOD) == []
    assert found({"amount": 0.5, "further": 1, "parts": None}) == []


@pytest.mark.parametrize(
    ("name", "value", "violation"),
    [
        ("amount", None, "missing:amount"),
        ("amount", "12", "type:amount"),
        ("amount", True, "type:amount"),
        ("amount", -0.01, "range:amount"),
        ("amount", 1_000_001, "range:amount"),
        ("parts", 1.0, "type:parts"),
        ("parts", 0, "range:parts"),
        ("parts", 2**80, ""),
        ("channel", "sms", "value:channel"),
        ("channel", 1, "type:channel"),
        ("step", 4, "value:step"),
        ("step", "1", "type:step"),
        ("iban", "12", "pattern:iban"),
        ("iban", "DE" + "1" * 2000, "pattern:iban"),
        ("at", "soon", "type:at"),
        ("at", "", "type:at"),
        ("at", 1_795_330_000_000, ""),
        ("at", -1, "type:at"),
        ("ok", 1, "type:ok"),
        ("items", {}, "type:items"),
        ("place", [], "type:place"),
        ("名称 with.dots", 1, "type:名称 with.dots"),
    ],
)
def test_each_rule(name: str, value: object, violation: str) -> None:
    assert found(GOOD | {name: value}) == ([violation] if violation else [])


def test_a_closed_schema_names_what_it_does_not_list_except_the_sdks_own() -> None:
    assert found({"a": "x", "$lib": "js"}, "tight") == []
    assert found({"b": 1, "$lib": "js", "a": 2}, "tight") == ["type:a", "unknown_property:b"]
    many = found({f"p{number}": 1 for number in range(1000)} | {"x" * 5000: 1}, "tight")
    assert (len(many), many[-1]) == (MAX_VIOLATIONS, "more")
    assert found({"x" * 5000: 1}, "tight") == ["unknown_property:" + "x" * 128]


_scalars = some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False, allow_infinity=False) | some.text()
_values = _scalars | some.lists(_scalars, max_size=2) | some.dictionaries(some.text(), _scalars, max_size=2)


@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(some.dictionaries(some.sampled_from([*GOOD, "other"]), _values | some.sampled_from(list(GOOD.values()))))
def test_the_quick_look_and_the_thorough_one_agree(props: dict[str, object]) -> None:
    check = Check(schema("pay"))
    raw = msgspec.Raw(msgspec.json.encode(GOOD | props))
    assert check.violations(raw) == check._looked_at(raw)


def test_what_is_kept_says_what_is_wrong_and_is_counted() -> None:
    intake = sent(
        "/v1/events",
        [
            {"event": "pay", "user_id": "1", "props": {"amount": 1}},
            {"event": "pay", "user_id": "1", "props": {"channel": "sms"}},
            {"event": "nobody_knows", "user_id": "1"},
            {"event": "old", "user_id": "1"},
            {"event": "tight", "user_id": "1", "props": {"b": 1}},
            {"event": "$AppStart", "user_id": "1"},
            {"event": "Some page", "type": "page", "user_id": "1"},
            {"event": "pay", "type": "profile", "user_id": "1"},
        ],
    )
    assert [event.violations for event in events(intake)] == [
        [],
        ["missing:amount", "value:channel"],
        ["unknown_event"],
        ["deprecated"],
        ["unknown_property:b"],
        [],
        [],
        [],
    ]
    assert b'"violations"' not in intake.accepted[0].line
    assert list(intake.violations) == [
        Label("keeps", "pay", "amount", "missing"),
        Label("keeps", "pay", "channel", "value"),
        Label("keeps", "other", "", "unknown_event"),
        Label("keeps", "old", "", "deprecated"),
        Label("keeps", "tight", "other", "unknown_property"),
    ]
    assert {label.rule for label in intake.violations} < set(RULES)


def test_what_is_rejected_says_where_and_why_and_the_rest_counts() -> None:
    bad = {"type": "track", "event": "pay", "userId": "1", "properties": {"amount": -1, "channel": "sms"}}
    good = {"type": "track", "event": "pay", "userId": "1", "properties": {"amount": 1}}
    intake = sent("/v1/batch", {"batch": [good, bad, good | {"event": "what"}, good | {"event": "old"}]}, "key-rejects")
    assert [event.violations for event in events(intake)] == [[], ["deprecated"]]
    first, second = rejections(intake)
    assert (first.reason, first.app, json.loads(first.payload)) == (Reason.PLAN, "rejects", bad)
    assert first.detail == (
        '"pay" is against the plan: amount must be at least 0 and at most 1000000 (and value:channel)'
        " - at `$.batch[1].properties.amount`"
    )
    assert second.detail == "no events entry of the plan has this name - at `$.batch[2].event`"
    assert [label.rule for label in intake.violations] == ["range", "value", "unknown_event", "deprecated"]


def test_native_and_sensors_events_are_checked_alike() -> None:
    intake = sent("/v1/events", {"event": "pay", "user_id": "1", "props": {}}, "key-rejects")
    assert intake.answer.status == 400
    assert rejections(intake)[0].detail.endswith("amount is missing, a number is required - at `$.props`")
    event = {"type": "track", "event": "pay", "time": NOW, "distinct_id": "1", "properties": {"amount": "x", "$lib": "js"}}
    plan = settings()
    body = b"data=" + base64.b64encode(json.dumps(event).encode())
    request = Request("POST", "/sa", "project=key-rejects", {}, body)
    sensors = take(request, ROUTES["/sa"], Keys(plan.apps), limits_of(plan.collector), NOW, rules_of(plan))
    assert rejections(sensors)[0].detail.endswith("amount must be a number - at `$.properties.amount`")


def test_nothing_is_checked_without_schemas() -> None:
    plain = read_settings('[[apps]]\nid = "keeps"\nwrite_keys = ["key-keeps"]\n', {})
    assert rules_of(plain) == ()
    only_one = '[[events]]\nname = "x"\napps = ["rejects"]\n'
    assert events(sent("/v1/events", {"event": "pay", "user_id": "1"}, text=only_one))[0].violations == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[events]]\nname = "a"\napps = ["nobody"]', 'events "a" names the app "nobody"'),
        ('[[events]]\nname = "a"\n[[events]]\nname = "a"\napps = ["keeps"]', 'two events entries are called "a"'),
        ('[[events]]\nname = "a"\nsince = "1"', "deprecated = true"),
        ('[[events]]\nname = "a"\ndeprecated = true\ninstead = "a"', "replaced by itself"),
        ('[[events]]\nname = "a"\nproperties.p = { type = "text" }', r"Invalid enum value 'text' - at `\$.events"),
        ('[[events]]\nname = "a"\nproperties.p = { type = "string", must = true }', "unknown field `must`"),
        ('[[events]]\nname = "a"\nproperties.p = { type = "number", values = [1] }', 'property "p": values go with'),
        ('[[events]]\nname = "a"\nproperties.p = { type = "string", values = [1] }', "the value 1 is no string"),
        ('[[events]]\nname = "a"\nproperties.p = { type = "string", values = ["x", "x"] }', "listed twice"),
        ('[[events]]\nname = "a"\nproperties.p = { type = "string", min = 1 }', "min and max go with"),
        ('[[events]]\nname = "a"\nproperties.p = { type = "number", min = 2, max = 1 }', "greater than max"),
        ('[[events]]\nname = "a"\nproperties.p = { type = "number", min = inf }', "finite"),
        ('[[events]]\nname = "a"\nproperties.p = { type = "integer", min = 0.5 }', "whole numbers"),
        ('[[events]]\nname = "a"\nproperties.p = { type = "integer", max = 1e300 }', "between -2"),
        ('[[events]]\nname = "a"\nproperties.p = { type = "integer", values = [99999999999999999999] }', "between -2"),
        ('[[events]]\nname = "a"\nproperties.p = { type = "integer", values = [1], min = 0 }', "not both"),
        ('[[events]]\nname = "a"\nproperties.p = { type = "string", values = ["1"], pattern = "x" }', "or a pattern, not both"),
        ('[[events]]\nname = "a"\nproperties.p = { type = "integer", pattern = "x" }', "a pattern goes with"),
        ('[[events]]\nname = "a"\nproperties.p = { type = "string", pattern = "(" }', "no regular expression"),
        ('[[events]]\nname = "a"\napps = ["keeps"]\n', 'app "rejects" rejects what is against the plan, but no events entry'),
    ],
)
def test_a_schema_that_does_not_hold_together_is_an_error_that_names_it(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(text)
