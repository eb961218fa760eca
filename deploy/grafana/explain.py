"""What a panel says of itself: the definitions of the numbers that it shows, in the catalogue's own words."""

from __future__ import annotations

from sinks.contract.gauges import Family
from streams.contract.catalogue import CATALOGUE

_METRICS = {metric.name: metric for metric in CATALOGUE}


def explain(note: str, *metrics: str, families: tuple[Family, ...] = ()) -> str:
    """A description: the note, then each metric of the catalogue and each Prometheus family with its definition.

    Raises KeyError for a metric that the catalogue does not have.
    """
    parts = [note]
    for name in metrics:
        one = _METRICS[name]
        parts.append(f"**{one.title_zh}** ({one.title}, `{one.name}`, {one.unit}): {one.definition}")
    parts += [f"`{sample(one)}`: {one.help}" for one in families]
    return "\n\n".join(parts)


def sample(family: Family) -> str:
    """The name that a family's samples have in Prometheus."""
    return family.name + ("_total" if family.kind == "counter" else "")
