"""What has to be taken off the totals that the stream cannot correct any more, since their windows had closed. Pure.

Every number is a sum over persons, so what a person is in it is what SQL makes of that person's events alone. Windows that are
still open the worker corrects itself when it forgets the person; which those are is not guessed but read off: their total has
changed, or is what SQL makes of the events of all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ingest.contract.plan import Plan
from sinks.verify.closed import may_have_closed
from streams.contract.total import TotalKey

Numbers = Mapping[TotalKey, int]


class Corrections(NamedTuple):
    """What was found.

    amounts     to be added to closed totals (negative); open: how many the worker corrected, or has not counted
    unresolved  totals of windows that may have closed, of which it cannot be told what the person is in them
    """

    amounts: dict[TotalKey, int]
    open: int
    unresolved: list[TotalKey]


def candidates(plan: Plan, now: int, merged: Numbers, unmerged: Numbers) -> set[TotalKey]:
    """Of the numbers that the person is in, those whose window may have closed by `now` (ms)."""
    return {key for key in merged.keys() | unmerged.keys() if may_have_closed(plan, key, now)}


def corrections(
    keys: set[TotalKey], merged: Numbers, unmerged: Numbers, before: Numbers, after: Numbers, others: Numbers
) -> Corrections:
    """What to take off.

    merged, unmerged   the person's own numbers by SQL, all ids as one and each id by itself (as they were before a login told)
    before, after      the stream's totals before and after the worker has forgotten the person
    others             SQL's numbers of everybody else
    """
    found = Corrections({}, 0, [])
    open_windows = 0
    for key in keys:
        told = after.get(key, 0)
        too_much = told - others.get(key, 0)
        low, high = sorted((merged.get(key, 0), unmerged.get(key, 0)))
        if too_much == 0 or told != before.get(key, 0):
            open_windows += 1
        elif low <= too_much <= high:
            found.amounts[key] = -too_much
        else:
            found.unresolved.append(key)
    return found._replace(open=open_windows)
