"""Ingest: takes events from SDKs and writes them to Kafka. `ingest.contract` is all that later stages may import.

For servers that send events themselves it has emitters: `Emitter` (Kafka) and `HttpEmitter` (a collector), with `EmitterOptions`.
They are loaded when they are asked for: to import `ingest` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingest.emit.base import EmitterOptions as EmitterOptions
    from ingest.emit.http import HttpEmitter as HttpEmitter
    from ingest.emit.kafka import Emitter as Emitter

_WHERE = {
    "Emitter": "ingest.emit.kafka",
    "EmitterOptions": "ingest.emit.base",
    "HttpEmitter": "ingest.emit.http",
}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
