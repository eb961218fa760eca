"""Ids that SDKs send in places which no column is filled from: they say who it was as well, so hashing must know them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ingest.json_text import DECODE_ERRORS
from ingest.line import EventLine, number_text

_TRAITS = ("id", "userId", "user_id", "anonymousId", "anonymous_id")


class _Context(msgspec.Struct):
    """Of Segment's context; RudderStack says externalId."""

    device: Any = None
    externalId: Any = None
    externalIds: Any = None
    traits: Any = None


class _Sensors(msgspec.Struct):
    identities: Any = None


class _Properties(msgspec.Struct):
    first: Any = msgspec.field(name="$first_id", default=None)
    previous: Any = msgspec.field(name="$previous_distinct_id", default=None)


_decode_context = msgspec.json.Decoder(_Context).decode
_decode_sensors = msgspec.json.Decoder(_Sensors).decode
_decode_properties = msgspec.json.Decoder(_Properties).decode
_decode_traits = msgspec.json.Decoder(dict[str, Any]).decode


def more_ids(event: EventLine) -> list[str]:
    """The ids of an event, as its protocol has them, that are not among `event.ids`. Cheap where there are none."""
    if not _may_have(event):
        return []
    try:
        return [one for value in _values(event) for one in _texts(value)]
    except DECODE_ERRORS:  # an object twice as deep as any: what cannot be read here is not rewritten either
        return []


def _may_have(event: EventLine) -> bool:
    """The first look, at names alone."""
    if event.protocol == "segment":
        context = bytes(event.context)
        return event.type in ("identify", "group") or b'"token"' in context or b'"externalId' in context or b'"traits"' in context
    if event.protocol == "sensors" and "[" in event.raw and '"identities"' in event.raw:
        return True
    props = bytes(event.props)
    return b'"$first_id"' in props or b'"$previous_distinct_id"' in props


def _values(event: EventLine) -> Iterator[Any]:
    if event.protocol == "segment":
        found = _decode_context(event.context)
        yield _member(found.device, "token")
        for external in (found.externalId, found.externalIds):
            for one in external if isinstance(external, list) else (external,):
                yield _member(one, "id")
        traits = _decode_traits(event.props) if event.type in ("identify", "group") else None
        for name in _TRAITS:
            yield _member(found.traits, name)
            yield _member(traits, name)
        return
    presets = _decode_properties(event.props)
    yield presets.first
    yield presets.previous
    if event.protocol == "sensors" and event.raw:
        identities = _decode_sensors(event.raw).identities
        if isinstance(identities, dict):
            yield from (one for one in identities.values() if isinstance(one, list))


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int) and not isinstance(value, bool):
        yield number_text(value)
