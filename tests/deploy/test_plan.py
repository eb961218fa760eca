"""`footfall plan`: what is found in a plan, what may change in it, and what is proposed from traffic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as some

from deploy.cli import main
from deploy.entry import DEMO_FILE
from deploy.plan.evolution import changes
from deploy.plan.infer import Seen, propose, toml
from deploy.plan.lint import lint, near
from ingest.contract.errors import ConfigError
from ingest.contract.settings import Settings, read_settings
from ingest.contract.tracking import EventSchema, PropertySchema, check_events
from ingest.tracking import Check

APPS = '[[apps]]\nid = "a"\nwrite_keys = ["key-a"]\n[[apps]]\nid = "b"\n'
PAY = '[[events]]\nname = "pay"\nproperties.amount = { type = "number", required = true }\n'


def plan(text: str) -> Settings:
    return read_settings(APPS + text, {})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["note"]),
        (PAY, []),
        (PAY + '[[activities]]\nid = "x"\nevents = ["pay", "$AppStart", "buy"]', ['error activities "x": names the event "buy"']),
        (PAY + '[[scenes]]\nid = "x"\napps = ["b"]\nevents = ["buy"]', ['error scenes "x"']),
        (PAY + '[[funnels]]\nid = "x"\napp = "a"\nsteps = [{ event = "pay" }, { event = "buy" }]', ['error funnels "x"']),
        (
            PAY + '[[groups]]\nid = "g"\napps = ["a", "b"]\n[[funnels]]\nid = "x"\napp = "g"\nexclude = [{ event = "no" }]\n'
            'steps = [{ event = "pay" }, { event = "pay" }]',
            ['error funnels "x": names the event "no", which has no events entry in a, b'],
        ),
        (PAY.replace("name", 'apps = ["b"]\nname') + '[[activities]]\nid = "x"\napps = ["a"]\nevents = ["buy"]', []),
        (
            PAY + '[[events]]\nname = "old"\ndeprecated = true\ninstead = "pay"\n[[activities]]\nid = "x"\nevents = ["old"]',
            ['warning activities "x": names the event "old", which is deprecated: use "pay" too'],
        ),
        (PAY + '[[events]]\nname = "old"\ndeprecated = true\ninstead = "gone"', ['warning events "old": is to be replaced']),
        (
            PAY + '[[funnels]]\nid = "x"\napp = "a"\nsteps = [{ event = "pay", where = { to = 1 } }, { event = "pay" }]',
            ['warning funnels "x", event "pay": asks for the property "to"'],
        ),
        (
            PAY + 'properties.ok = { type = "boolean" }\nproperties.by = { type = "string", values = ["card"] }\n'
            '[[funnels]]\nid = "x"\napp = "a"\nsteps = [{ event = "pay", where = { ok = true, by = "card" } }, '
            '{ event = "pay", where = { ok = "1", by = "cash" } }]',
            ["error funnels", "error funnels"],
        ),
        (PAY + '[[segments]]\nid = "age"\nsource = "props.age"\nvalues = ["1"]', ['warning segments "age"']),
        (
            PAY + 'properties.age = { type = "string", values = ["18"] }\n[[segments]]\nid = "age"\nsource = "props.age"\n'
            'values = ["18", "19"]',
            ['error segments "age": has the value "19"'],
        ),
        (
            PAY + '[[events]]\nname = "buy"\nproperties.amount = { type = "string" }',
            ['warning events "buy": "amount" is a string'],
        ),
        (PAY + '[[events]]\nname = "buy"\nproperties.amount = { type = "integer" }', []),
        (PAY + '[[events]]\nname = "Pay"', ['warning events: "Pay" and "pay" are nearly the same']),
        (PAY + "properties.amonut = { type = 'number' }\nproperties.a_mount = { type = 'number' }", ['warning events "pay"']),
    ],
)
def test_lints(text: str, found: list[str]) -> None:
    said = [" ".join(str(one).split()) for one in lint(plan(text))]
    assert len(said) == len(found), said
    assert all(one.startswith(start) for one, start in zip(said, found, strict=True)), said


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("add_to_cart", "addToCart", True),
        ("complete_transfer", "complete_transfers", True),
        ("complete_transfer", "conplete_transfer", True),
        ("complete_transfer", "complete_tranfer", True),
        ("step_one_1", "step_one_2", False),
        ("fill_transfer", "select_transfer", False),
        ("pay", "say", False),
        ("支付", "支付", True),
        ("--", "__", False),
    ],
)
def test_near_names(one: str, other: str, expected: bool) -> None:
    assert near(one, other) is near(other, one) is expected


def test_evolution_of_what_becomes_of_events_and_of_first_schemas() -> None:
    schema = '[[events]]\nname = "e"\n'

    def levels(old: tuple[str, str, str], new: tuple[str, str, str]) -> list[str]:
        plans = [
            read_settings(f'[[apps]]\nid = "a"\nplan_violations = "{one[0]}"\nunknown_events = "{one[1]}"\n{one[2]}', {})
            for one in (old, new)
        ]
        found = changes(*plans)
        assert all(one.where.endswith("(a)") for one in found)
        return [one.level for one in found]

    assert levels(("keep", "keep", schema), ("keep", "keep", schema)) == []
    assert levels(("keep", "keep", schema), ("reject", "keep", schema)) == ["error"]
    assert levels(("keep", "keep", schema), ("reject", "reject", schema)) == ["error", "error"]
    assert levels(("reject", "reject", schema), ("keep", "reject", schema)) == ["note"]
    assert levels(("keep", "keep", ""), ("keep", "keep", schema)) == ["note"]
    assert levels(("keep", "keep", ""), ("reject", "keep", schema)) == ["error"]
    assert levels(("keep", "keep", ""), ("keep", "reject", schema)) == ["error"]


AMOUNT = "properties.amount = { "


@pytest.mark.parametrize(
    ("old", "new", "level"),
    [
        ("", '[[events]]\nname = "new"', "note"),
        ('[[events]]\nname = "old"', "", "error"),
        ('[[events]]\nname = "old"\ndeprecated = true', "", "note"),
        ('[[events]]\nname = "e"', '[[events]]\nname = "e"\napps = ["a"]', "error"),
        ('[[events]]\nname = "e"\napps = ["a"]', '[[events]]\nname = "e"', "note"),
        ('[[events]]\nname = "e"', '[[events]]\nname = "e"\nclosed = true', "error"),
        ('[[events]]\nname = "e"\nclosed = true', '[[events]]\nname = "e"', ""),
        ('[[events]]\nname = "e"', '[[events]]\nname = "e"\ndeprecated = true', "note"),
    ],
)
def test_evolution_of_events(old: str, new: str, level: str) -> None:
    other = '[[events]]\nname = "other"\n'
    assert [one.level for one in changes(plan(other + old), plan(other + new))] == ([level] if level else [])


@pytest.mark.parametrize(
    ("old", "new", "level"),
    [
        ("", 'type = "string"', "note"),
        ("", 'type = "string", required = true', "error"),
        ('type = "string"', "", "error"),
        ('type = "integer"', 'type = "number"', "note"),
        ('type = "number"', 'type = "integer"', "error"),
        ('type = "integer"', 'type = "time"', "error"),
        ('type = "string"', 'type = "string", required = true', "error"),
        ('type = "string", required = true', 'type = "string"', "note"),
        ('type = "string"', 'type = "string", values = ["a"]', "error"),
        ('type = "string", values = ["a"]', 'type = "string", values = ["a", "b"]', "note"),
        ('type = "string", values = ["a"]', 'type = "string"', "note"),
        ('type = "string", values = ["a", "b"]', 'type = "string", values = ["a"]', "error"),
        ('type = "string"', 'type = "string", pattern = "x"', "error"),
        ('type = "string", pattern = "x"', 'type = "string"', "note"),
        ('type = "number", min = 0', 'type = "number", min = 1', "error"),
        ('type = "number", min = 0', 'type = "number", min = -1', "note"),
        ('type = "number", max = 5', 'type = "number"', "note"),
        ('type = "number"', 'type = "number", max = 5', "error"),
    ],
)
def test_evolution_of_properties(old: str, new: str, level: str) -> None:
    def made(text: str) -> Settings:
        return plan('[[events]]\nname = "e"\n' + (f"{AMOUNT}{text} }}" if text else ""))

    found = changes(made(old), made(new))
    assert [one.level for one in found] == [level], found
    assert found[0].where == 'events "e", property "amount" (a, b)'


_numbers = some.none() | some.integers(-3, 3)


@some.composite
def _schemas(draw: some.DrawFn) -> PropertySchema:
    kind = draw(some.sampled_from(["string", "integer", "number", "boolean", "time"]))
    fields: dict[str, Any] = {"type": kind, "required": draw(some.booleans())}
    if kind in ("integer", "number"):
        fields |= {"min": draw(_numbers), "max": draw(_numbers)}
    if kind == "string":
        fields["values"] = draw(some.lists(some.sampled_from("abc"), unique=True, max_size=2))
        fields["pattern"] = draw(some.sampled_from(["", "a", "b"]))
    schema = msgspec.convert(fields, PropertySchema)
    try:
        check_events([EventSchema(name="e", properties={"p": schema})], [])
    except ConfigError:
        return PropertySchema(type="boolean")
    return schema


_given: some.SearchStrategy[object] = some.sampled_from(
    [None, "a", "b", "c", "ab", 1, 0, -3, 3, 2.5, True, "2026-11-22", 1_795_330_000_000, [], {}]
)


@hypothesis_settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(_schemas(), _schemas(), _given)
def test_after_a_compatible_change_what_was_good_is_good(old: PropertySchema, new: PropertySchema, value: object) -> None:
    def event(one: PropertySchema) -> EventSchema:
        return EventSchema(name="e", properties={"p": one})

    plans = [msgspec.structs.replace(plan(""), events=[event(one)]) for one in (old, new)]
    if any(one.level == "error" for one in changes(*plans)):
        return
    props = msgspec.Raw(msgspec.json.encode({"p": value}))
    if not Check(event(old)).violations(props):
        assert Check(event(new)).violations(props) == []


def test_schemas_proposed_from_events() -> None:
    props = [
        json.dumps(
            {
                "amount": number + 0.5 if number % 2 else number,
                "channel": ("app", "web")[number % 2],
                "id": f"i{number}",
                "n": number,
                "at": "2026-11-22T05:30:14Z",
                "ok": True,
                "tags": [],
                "to": {"a": 1},
                "mixed": number if number % 2 else "x",
                "$lib": "js",
                "none": None,
                "slips": "x" if number % 20 == 1 else number,
                "a ${HOME}": 1,
                **({"rare": 1} if number == 7 else {}),
            }
        )
        for number in range(1000)
    ]
    props[3] = json.dumps({"amount": 1})
    schema, left_out = propose(Seen('pay "it" 支付\\', ("a",), 1000, props), ["a", "b"])
    assert {name: (one.type, one.required, one.values) for name, one in schema.properties.items()} == {
        "amount": ("number", True, []),
        "at": ("time", True, []),
        "channel": ("string", True, ["app", "web"]),
        "id": ("string", True, []),
        "n": ("integer", True, []),
        "ok": ("boolean", True, []),
        "rare": ("integer", False, []),
        "slips": ("integer", True, []),
        "tags": ("list", True, []),
        "to": ("object", True, []),
    }
    assert left_out == ["mixed: of mixed types (string 500, integer 499)", "slips: not always integer (integer 949, string 50)"]
    text = toml(schema, left_out)
    assert plan(text).events == [schema]
    assert lint(plan(text)) == []


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(text: str, *arguments: str) -> int:
        path = tmp_path / "plan.toml"
        path.write_text(APPS + text)
        with pytest.raises(SystemExit) as ended:
            main(["--config", str(path), "plan", "check", *arguments])
        return int(ended.value.code or 0)

    old = tmp_path / "old.toml"
    old.write_text(APPS + PAY)
    assert run(PAY) == 0
    assert run(PAY, "--against", str(old)) == 0
    assert run(PAY.replace("number", "integer"), "--against", str(old)) == 1
    assert "was of type number and is of type integer now" in capsys.readouterr().out
    assert run(PAY + '[[events]]\nname = "Pay"') == 0
    assert run(PAY + '[[events]]\nname = "Pay"', "--strict") == 1
    assert run(PAY + '[[apps]]\nid = "c"\nwrite_keys = ["${A_SECRET_THAT_IS_NOT_HERE}"]') == 0
    assert run("[[events]]\n") == 2
    assert "missing required field `name`" in capsys.readouterr().err


def test_the_demos_plan_has_nothing_to_mend() -> None:
    assert [one for one in lint(read_settings(DEMO_FILE.read_text(), {})) if one.level != "note"] == []
