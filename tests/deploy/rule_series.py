"""Weeks of an app's traffic as promtool's input series: day and night, noise, and what went wrong when. Seeded."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

STEP_S = 300
STEPS_A_DAY = 86_400 // STEP_S

#: What is left of an app's traffic at (day, hour): 1 is a usual day.
Fate = Callable[[int, float], float]


def usual(_day: int, _hour: float) -> float:
    """Nothing happens."""
    return 1.0


def curve(hour: float) -> float:
    """Traffic over a day, 1 at its busiest, 20 times that of 4 in the morning."""
    return 0.05 + 0.95 * math.pow(math.sin(math.pi * ((hour - 4) % 24) / 24), 1.5)


def poisson(rng: random.Random, mean: float) -> int:
    """A count with that mean."""
    if mean > 50:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    count, product, limit = 0, rng.random(), math.exp(-mean)
    while product > limit:
        count += 1
        product *= rng.random()
    return count


def rates(days: int, peak: float, fate: Fate = usual) -> list[float]:
    """Events a second at each step, weekends (from 4 in the morning) lower."""
    found = []
    for step in range(days * STEPS_A_DAY):
        day = step / STEPS_A_DAY
        hour = (day - int(day)) * 24
        weekend = 0.7 if int(day - 4 / 24) % 7 in (5, 6) else 1.0
        found.append(peak * weekend * curve(hour) * fate(int(day), hour))
    return found


def counter(rng: random.Random, per_second: Sequence[float], first_day: float = 0, last: float | None = None) -> str:
    """A counter's values, absent before `first_day`, and gone for good at day `last`."""
    total = 0
    values: list[str] = []
    for step, rate in enumerate(per_second):
        day = step / STEPS_A_DAY
        if day < first_day or (last is not None and day >= last):
            values.append("_" if last is None or day < last or values[-1] in ("stale", "_") else "stale")
            continue
        total += poisson(rng, rate * STEP_S)
        values.append(str(total))
    return " ".join(values)


def gauge(rng: random.Random, means: Sequence[float]) -> str:
    """A gauge's values: counts with these means."""
    return " ".join(str(poisson(rng, mean)) for mean in means)


def series(name: str, values: str, **labels: str) -> dict[str, str]:
    """One input series."""
    return {"series": name + "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}", "values": values}


def instant(day: float, hour: float = 0) -> str:
    """An eval_time."""
    return f"{round((day * 24 + hour) * 60)}m"


def expect(expr: str, at: str, *labels: dict[str, str], value: float = 1) -> dict[str, Any]:
    """A promql_expr_test: these series, all with that value; none given: nothing."""
    samples = [{"labels": "{" + ",".join(f'{key}="{text}"' for key, text in one.items()) + "}", "value": value} for one in labels]
    return {"expr": expr, "eval_time": at, "exp_samples": samples}
