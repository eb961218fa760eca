"""From an event to what it counts for: its app, the groups of that app, and the facets in each. As the plan says."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from ingest.contract.event import ACTIVE_TYPES, EventHead
from ingest.contract.plan import OTHER, FunnelStep, Plan, applies
from streams.funnel import EXCLUDED


class FunnelTouch(NamedTuple):
    """What an event is in a funnel: bits of its steps (and of an exclusion), and the facet of the breakdown ("": none)."""

    funnel: str
    bits: int
    facet: str


class Kind(NamedTuple):
    """What an event's name counts for, whatever else it carries. `facets` starts with ""; `groups` all have `group_facets`."""

    facets: tuple[str, ...]
    groups: tuple[str, ...]
    group_facets: tuple[str, ...]
    is_launch: bool


class UnknownApp(Exception):
    """The event's app is not in the plan."""


def property_names(plan: Plan) -> list[str]:
    """The event properties that the plan's facets and funnels look at."""
    names = [segment.source.removeprefix("props.") for segment in plan.segments if segment.source.startswith("props.")]
    for funnel in plan.funnels:
        for step in (*funnel.steps, *funnel.exclude):
            names += step.where
    return list(dict.fromkeys(names))


def event_decoder(plan: Plan) -> msgspec.json.Decoder[Any]:
    """A decoder of event lines that reads, of all properties, just those that the plan needs.

    What it yields has EventHead's fields; `props` is to be read with what `property_reader` gives. It takes and refuses the same
    lines as a decoder of EventHead.
    """
    names = property_names(plan)
    props: Any = dict[str, Any]
    if not _is_nested(names):
        props = msgspec.defstruct(
            "PlanProps",
            [(f"p{index}", Any, None) for index in range(len(names))],
            frozen=True,
            rename={f"p{index}": name for index, name in enumerate(names)},
        )
    struct = msgspec.defstruct(
        "PlanEvent", [("props", props, msgspec.field(default_factory=props))], bases=(EventHead,), kw_only=True, gc=False
    )
    return msgspec.json.Decoder(struct)


def property_reader(plan: Plan, name: str) -> Callable[[Any], object]:
    """Reads a property of an event of the plan's `event_decoder`; None: the event has it not. An object is no property, what is
    in it are properties of their own.

    The one rule for names with dots: {"gift.kind": 1} and {"gift": {"kind": 1}} both have "gift.kind". Where an event has it
    twice, the first that is not null counts. (It is how ClickHouse's JSON type sees it, see sinks.verify.expressions.prop.)
    """
    names = property_names(plan)
    if not _is_nested(names):
        read = attrgetter(f"props.p{names.index(name)}")

        def read_one(event: Any) -> object:
            value: object = read(event)
            return None if isinstance(value, dict) else value

        return read_one
    return lambda event: _find(event.props, name)


def properties_reader(plan: Plan) -> Callable[[Any], tuple[object, ...]] | None:
    """Reads all of them at once, quickly; objects may be among them. None if there are none."""
    names = property_names(plan)
    if not names:
        return None
    if not _is_nested(names):
        read = attrgetter(*(f"props.p{index}" for index in range(len(names))))
        return read if len(names) > 1 else lambda event: (read(event),)
    return lambda event: tuple(_find(event.props, name) for name in names)


def _is_nested(names: list[str]) -> bool:
    """Whether one of the names can be spread over nested objects; all properties must be looked at then, in their order."""
    return any("." in name for name in names)


def _find(props: dict[str, object], path: str) -> object:
    for key, value in props.items():
        if isinstance(value, dict):
            if path.startswith(f"{key}."):
                found = _find(value, path[len(key) + 1 :])
                if found is not None:
                    return found
        elif key == path and value is not None:
            return value
    return None


def _text(value: object) -> str | None:
    """How a property's value is compared with a segment's values; None if the event has no such property."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return OTHER


def _is(value: object, text: str | None) -> bool:
    """Whether a property has a step's value, compared as text; numbers with fractions, lists and objects have none."""
    return isinstance(value, str | int) and _text(value) == text


class FacetRules:
    """The plan's facets, ready to be asked for events."""

    def __init__(self, plan: Plan) -> None:
        self._apps: dict[str, _AppRules] = {}
        for app in plan.apps:
            segments: list[_SegmentRule] = []
            for segment in plan.segments:
                if applies(segment.apps, app.id):
                    field, _, prop = segment.source.partition(".")
                    # an empty field is a field that the event does not have; an empty property is a value
                    absent = None if prop else ""
                    read = property_reader(plan, prop) if prop else attrgetter(field)
                    segments.append(_SegmentRule(segment.id, read, absent, frozenset(segment.values)))
            self._apps[app.id] = _AppRules(
                passive=frozenset(app.passive_events),
                launches=frozenset(app.launch_events),
                activities=[(one.id, frozenset(one.events), one.login) for one in plan.activities if applies(one.apps, app.id)],
                scenes=[(one.id, frozenset(one.events)) for one in plan.scenes if applies(one.apps, app.id)],
                segments=segments,
                groups=tuple(group.id for group in plan.groups if app.id in group.apps),
                funnels=[
                    _FunnelRule(
                        funnel.id,
                        funnel.by,
                        [_step_rule(plan, step, 1 << index) for index, step in enumerate(funnel.steps)]
                        + [_step_rule(plan, step, EXCLUDED) for step in funnel.exclude],
                    )
                    for funnel in plan.funnels
                    if funnel.app == app.id or any(group.id == funnel.app and app.id in group.apps for group in plan.groups)
                ],
            )

    def kind(self, event: Any) -> Kind | None:
        """What a decoded event (of `event_decoder`) counts for by app, name, type, and whether its person is known.

        None if it is no activity. Raises UnknownApp.
        """
        rules = self._apps.get(event.app)
        if rules is None:
            raise UnknownApp(event.app)
        if event.type not in ACTIVE_TYPES or event.event in rules.passive:
            return None
        known = event.person.startswith("u:")
        activities = tuple(
            f"activity:{name}" for name, events, login in rules.activities if event.event in events and (known or not login)
        )
        scenes = tuple(f"scene:{name}" for name, events in rules.scenes if event.event in events)
        return Kind(("", *activities, *scenes), rules.groups, ("", *activities), event.event in rules.launches)

    def traits(self, event: Any) -> tuple[str, ...]:
        """The facets of an event, of an app that is known, by the plan's segments."""
        facets = []
        for name, read, absent, values in self._apps[event.app].segments:
            value = _text(read(event))
            if value != absent:
                facets.append(f"{name}:{value if value in values else OTHER}")
        return tuple(facets)

    def funnels(self, event: Any, traits: tuple[str, ...]) -> tuple[FunnelTouch, ...]:
        """The funnels that an activity with these traits is part of."""
        funnels = []
        for name, by, steps in self._apps[event.app].funnels:
            bits = 0
            for step in steps:
                if step.event == event.event and all(_is(read(event), value) for read, value in step.where):
                    bits |= step.bit
            if bits:
                facet = next((facet for facet in traits if by and facet.startswith(f"{by}:")), "")
                funnels.append(FunnelTouch(name, bits, facet))
        return tuple(funnels)


class _SegmentRule(NamedTuple):
    name: str
    read: Callable[[Any], object]
    absent: str | None
    values: frozenset[str]


class _StepRule(NamedTuple):
    event: str
    where: list[tuple[Callable[[Any], object], str | None]]
    bit: int


def _step_rule(plan: Plan, step: FunnelStep, bit: int) -> _StepRule:
    where: list[tuple[Callable[[Any], object], str | None]] = [
        (property_reader(plan, name), _text(value)) for name, value in step.where.items()
    ]
    return _StepRule(step.event, where, bit)


class _FunnelRule(NamedTuple):
    name: str
    by: str
    steps: list[_StepRule]


class _AppRules(NamedTuple):
    passive: frozenset[str]
    launches: frozenset[str]
    activities: list[tuple[str, frozenset[str], bool]]
    scenes: list[tuple[str, frozenset[str]]]
    segments: list[_SegmentRule]
    groups: tuple[str, ...]
    funnels: list[_FunnelRule]
