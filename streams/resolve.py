"""From an event to the partition's numbers: which scopes, facets and funnels it counts for.

Answers are remembered by the event's name (its kind) and by what segments look at (its traits). Both come from clients.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from streams.clock import ScopeClock
from streams.names import Names
from streams.rules import Rules

#: Kinds, and combinations of them with traits, that are remembered. Clients make names and values, so it is bounded.
_MOST_REMEMBERED = 100_000


class Target(NamedTuple):
    """A scope that an event counts for, with its facets as numbers."""

    scope: int
    clock: ScopeClock
    facets: frozenset[int]


class FunnelTarget(NamedTuple):
    """A funnel that an event is part of: its number, its bits there, and the facet of the breakdown (0: none)."""

    funnel: int
    bits: int
    value: int


class Resolved(NamedTuple):
    """What an event counts for; the first target is the app itself."""

    targets: tuple[Target, ...]
    is_launch: bool
    funnels: tuple[FunnelTarget, ...]


class _Kind:
    """Events of one name: what they all count for, and what those with certain traits count for."""

    __slots__ = ("app", "by_traits", "clock", "facets", "groups", "is_launch")

    def __init__(self, app: int, clock: ScopeClock, facets: frozenset[int], groups: tuple[Target, ...], is_launch: bool) -> None:
        self.app = app
        self.clock = clock
        self.facets = facets
        self.groups = groups
        self.is_launch = is_launch
        self.by_traits: dict[int, Resolved] = {}


class Resolver:
    """Answers for a partition's names and clocks."""

    def __init__(self, rules: Rules, names: Names, clocks: dict[int, ScopeClock]) -> None:
        self._rules = rules
        self._names = names
        self._clocks = clocks
        self._forget()

    def _forget(self) -> None:
        self._kinds: dict[tuple[str, ...], _Kind | None] = {}
        self._traits: dict[tuple[Any, ...], int] = {}
        self._sets: dict[frozenset[int], frozenset[int]] = {}
        self._remembered = 0

    def resolve(self, event: Any) -> Resolved | None:
        """What a decoded event counts for; None if it is no activity. Raises streams.facets.UnknownApp."""
        name = event.app, event.event, event.type, event.person[0]
        try:
            kind = self._kinds[name]
        except KeyError:
            self._make_room()
            kind = self._kinds[name] = self._look(event)
        if kind is None:
            return None
        traits = self._rules.traits_key(event)
        try:
            return kind.by_traits[self._traits[traits]]
        except KeyError:
            return self._combine(event, kind, traits)
        except TypeError:  # a property that is a list or an object
            return self._resolved(event, kind)

    def _look(self, event: Any) -> _Kind | None:
        kind = self._rules.facets.kind(event)
        if kind is None:
            return None
        number = self._names.number
        group_facets = self._set(kind.group_facets)
        groups = tuple(Target(number(group), self._clocks[number(group)], group_facets) for group in kind.groups)
        return _Kind(number(event.app), self._clocks[number(event.app)], self._set(kind.facets), groups, kind.is_launch)

    def _combine(self, event: Any, kind: _Kind, traits: tuple[Any, ...]) -> Resolved:
        resolved = self._resolved(event, kind)
        self._make_room()
        kind.by_traits[self._traits.setdefault(traits, len(self._traits))] = resolved
        return resolved

    def _make_room(self) -> None:
        """For one more kind or combination."""
        if self._remembered >= _MOST_REMEMBERED:
            self._forget()
        self._remembered += 1

    def _resolved(self, event: Any, kind: _Kind) -> Resolved:
        number = self._names.number
        traits = self._rules.facets.traits(event)
        app = Target(kind.app, kind.clock, self._set(traits, kind.facets))
        funnels = self._rules.facets.funnels(event, traits)
        return Resolved(
            (app, *kind.groups),
            kind.is_launch,
            tuple(FunnelTarget(number(f"funnel:{one.funnel}"), one.bits, number(one.facet)) for one in funnels),
        )

    def _set(self, facets: tuple[str, ...], more: frozenset[int] = frozenset()) -> frozenset[int]:
        found = more.union(map(self._names.number, facets))
        return self._sets.setdefault(found, found)
