"""Who is who: ids that events say are one person. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from deploy.simulator.truth.happened import Happened
from ingest.contract.plan import Plan

#: An id -> the id that it became part of.
Merged = Mapping[str, str]


def granted(plan: Plan, events: Iterable[Happened]) -> dict[str, str]:
    """What the events' claims come to, the first that is received for an id being the one that holds.

    Users come before anonymous ids, then by text: the first of two is the person that both are.
    """
    apps = {app.id for app in plan.apps}
    found: dict[str, str] = {}
    for one in sorted((one for one in events if one.merge is not None), key=lambda one: one.received):
        if one.merge is not None and one.app in apps:
            target, person = sorted((one.merge.source, one.merge.target), key=lambda id_: (id_.startswith("a:"), id_))
            if target != person:
                found.setdefault(person, target)
    return found


def person_of(merged: Merged, person: str) -> str:
    """The person at the end of the chain."""
    while person in merged:
        person = merged[person]
    return person


def families(merges: Iterable[Merged], persons: Iterable[str]) -> dict[str, frozenset[str]]:
    """For each id, all ids that one of these merges could make one person of."""
    neighbours: dict[str, set[str]] = defaultdict(set)
    for merged in merges:
        for person, target in merged.items():
            neighbours[person].add(target)
            neighbours[target].add(person)
    found: dict[str, frozenset[str]] = {}
    for person in persons:
        if person not in found:
            family, waiting = {person}, [person]
            while waiting:
                for other in neighbours[waiting.pop()] - family:
                    family.add(other)
                    waiting.append(other)
            found |= dict.fromkeys(family, frozenset(family))
    return found
