"""How many members the objects of an event may have, and how long its names and texts may be. Pure."""

from __future__ import annotations

from typing import Any

from ingest.limits import Limits
from ingest.reasons import Reason, RefusedError

_SHOWN = 64


def check_sizes(value: Any, limits: Limits, path: str = "$") -> None:
    """Looks at a decoded event as a whole. Raises RefusedError with the path of the first thing that is too much."""
    if isinstance(value, dict):
        if len(value) > limits.properties:
            raise RefusedError(
                Reason.TOO_MANY, f"an object of {len(value)} members, at most {limits.properties} are allowed - at `{path}`"
            )
        for name, one in value.items():
            if len(name) > limits.name_chars:
                raise RefusedError(
                    Reason.TOO_LARGE,
                    f"a name of {len(name)} characters, at most {limits.name_chars} are allowed - at `{path}.{name[:_SHOWN]}`",
                )
            if isinstance(one, str):
                if len(one) > limits.value_chars:
                    raise _long_text(one, limits, f"{path}.{name}")
            elif isinstance(one, dict | list):
                check_sizes(one, limits, f"{path}.{name[:_SHOWN]}")
    elif isinstance(value, list):
        for index, one in enumerate(value):
            if isinstance(one, dict | list | str):
                check_sizes(one, limits, f"{path}[{index}]")
    elif isinstance(value, str) and len(value) > limits.value_chars:
        raise _long_text(value, limits, path)


def _long_text(text: str, limits: Limits, path: str) -> RefusedError:
    return RefusedError(
        Reason.TOO_LARGE, f"a text of {len(text)} characters, at most {limits.value_chars} are allowed - at `{path}`"
    )
