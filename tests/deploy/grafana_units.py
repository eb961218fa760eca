"""Which units a column or a PromQL expression can have: plain rules by what it is called and by its values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

COUNT = {"short", "none"}
SHARE = {"percentunit"}
#: Names of columns, whatever their values -> units. The first that fits holds.
_NAMED: tuple[tuple[str, set[str]], ...] = (
    (r"[Pp]eak[_ ]hour", {"suffix:h"}),
    (r"[Mm]inutes .*|.*_minutes", {"m"}),
    (r".*_ms", {"ms"}),
    (r"p\d+|Median( skew)?|.*seconds.*", {"s"}),
    (r".* on .*|.*(share|rate)|(Share|Conversion|Stickiness|Penetration|Retention)\b.*|Of the .*|.* / .*", SHARE),
    (r".* per user|Mean", COUNT),
)


def unit_of(panel: dict[str, Any], column: str) -> str:
    """The unit that a panel gives a column; "" where it gives none."""
    found = panel["fieldConfig"]["defaults"].get("unit", "")
    for one in panel["fieldConfig"]["overrides"]:
        if re.search(one["matcher"]["options"].strip("/"), column):
            found = next((each["value"] for each in one["properties"] if each["id"] == "unit"), found)
    return str(found)


def units_of_column(name: str, values: Sequence[float], means: bool = False) -> set[str]:
    """What the unit of numbers of that name can be; nothing is said of values (0 and 1) that may be counts or shares.

    means: they are mean counts, which look like shares where hardly anybody comes.
    """
    for pattern, units in _NAMED:
        if re.fullmatch(pattern, name):
            return units
    if means or any(value > 1 or value < -1 for value in values):
        return COUNT if means or all(value % 1 == 0 for value in values) else COUNT | {"s", "m"}
    return SHARE if any(value % 1 for value in values) else COUNT | SHARE


def units_of_promql(query: str) -> set[str]:
    """What the unit of a PromQL expression of ours can be, by the suffixes of its families."""
    families = re.findall(r"footfall_\w+", query)
    if query.startswith("time() -"):
        return {"s"}
    if query.startswith("histogram_quantile"):
        return {"bytes"} if all("_bytes_bucket" in one for one in families) else {"s"}
    if " / " in query:  # records by records a second: how long it takes; else a part of a whole
        return {"s"} if re.search(r"lag_records.*rate\(", query) else SHARE
    if "rate(" in query:
        if all("_bytes" in one for one in families):
            return {"Bps"}
        return {"reqps"} if all(one.endswith("requests_total") for one in families) else {"cps"}
    if all(re.search(r"_(up|caught_up)$", one) for one in families):
        return {"bool_yes_no"}
    for suffix, unit in (("_bytes", "bytes"), ("_seconds", "s"), ("_ratio", "percentunit")):
        if all(one.endswith(suffix) for one in families):
            return {unit}
    return COUNT
