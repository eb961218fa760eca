"""Person records and partition state as bytes: what lies in the changelog.

MessagePack arrays that start with a version (records: streams.packed). A newer Footfall reads older versions.
"""

from __future__ import annotations

import msgspec

from ingest.contract.errors import FootfallError
from streams import packed, packed_v1
from streams.names import Names
from streams.record import Record

VERSION = packed.VERSION
#: Of a state; of a record handed over, that of the record in it.
_STATE_VERSION = 1

#: The changelog keys of what a partition knows besides its persons begin so; a person's key begins with "u:" or "a:".
NOT_PERSON = b"\x00"
STATE_KEY = NOT_PERSON + b"state"
CLOCK_KEY = NOT_PERSON + b"clock"

#: How a MessagePack array of less than 16 elements begins.
_ARRAY = 0x9


class RecordFormatError(FootfallError):
    """A record in the changelog cannot be read by this Footfall."""


class _Portable(msgspec.Struct, array_like=True):
    record: bytes
    names: dict[int, str]


class State(msgspec.Struct, array_like=True):
    """What a partition knows of its records.

    names        the names used in its records, by number
    definitions  what must stay as it is for its records to keep their meaning (time zones, horizons, session gap)
    """

    version: int
    names: list[str]
    definitions: dict[str, str]


_encoder = msgspec.msgpack.Encoder()
_portable_decoder = msgspec.msgpack.Decoder(_Portable)
_state_decoder = msgspec.msgpack.Decoder(State)


def encode_record(record: Record) -> bytes:
    """The bytes of a record."""
    return packed.pack_record(record)


def version_of(data: bytes) -> int:
    """The version of a record's format; -1 if it is no record."""
    return data[1] if len(data) > 1 and data[0] >> 4 == _ARRAY else -1


def decode_record(data: bytes) -> Record:
    """Reads a record; RecordFormatError for a version that this Footfall does not know."""
    version = version_of(data)
    try:
        if version == VERSION:
            return packed.unpack_record(data)
        if version == 1:
            return packed_v1.unpack_record(data)
    except msgspec.DecodeError as error:
        raise RecordFormatError(f"a person record cannot be read: {error}") from error
    raise unknown_version(version)


def unknown_version(version: int) -> RecordFormatError:
    """What to say of a record of a version that is not known."""
    if version > VERSION:
        return RecordFormatError(f"a person record has version {version}, this Footfall knows up to {VERSION}: update it")
    return RecordFormatError("a person record cannot be read: it does not begin with a version")


def encode_portable(record: Record, names: Names) -> bytes:
    """A record with the names that it uses, for another partition."""
    used = set(record.parts) | set(record.funnels)
    for part in record.parts.values():
        used |= part.by_facet().keys()
    for events in record.funnels.values():
        used |= {event[3] for event in events}
    return _encoder.encode(_Portable(encode_record(record), {number: names.text(number) for number in used}))


def decode_portable(data: bytes, names: Names) -> Record:
    """Reads a record of another partition, in this one's names."""
    try:
        portable = _portable_decoder.decode(data)
    except msgspec.DecodeError as error:
        raise RecordFormatError(f"a record handed over cannot be read: {error}") from error
    theirs = decode_record(portable.record)
    ours = {number: names.number(text) for number, text in portable.names.items()}
    record = Record()
    for scope, part in theirs.parts.items():
        part.group({ours[facet]: seen for facet, seen in part.by_facet().items()})
        record.parts[ours[scope]] = part
    for funnel, events in theirs.funnels.items():
        record.funnels[ours[funnel]] = [(time, tie, bits, ours[value]) for time, tie, bits, value in events]
    return record


def encode_state(names: list[str], definitions: dict[str, str]) -> bytes:
    """The bytes of a partition's state."""
    return _encoder.encode(State(_STATE_VERSION, names, definitions))


def encode_clock(newest_receipt: int) -> bytes:
    """The bytes of a partition's clock: its newest receipt (ms, UTC)."""
    return b"%d" % newest_receipt


def decode_clock(data: bytes) -> int:
    """Reads a partition's clock."""
    return int(data)


def decode_state(data: bytes) -> State:
    """Reads a partition's state; RecordFormatError for a version that this Footfall does not know."""
    try:
        state = _state_decoder.decode(data)
    except msgspec.DecodeError as error:
        raise RecordFormatError(f"a partition's state cannot be read: {error}") from error
    if state.version > _STATE_VERSION:
        raise RecordFormatError(
            f"a partition's state has version {state.version}, this Footfall knows up to {_STATE_VERSION}: update it"
        )
    return state
