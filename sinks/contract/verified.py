"""What the last `footfall verify` on this machine found: a small file that the exporter shows, so that a difference is told."""

from __future__ import annotations

import msgspec

#: Under `data_dir`.
VERIFIED_FILE = "run/verified.json"


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """at: when it ended (ms UTC); numbers that were compared, and those of them that differed."""

    at: int
    compared: int
    different: int


def encode_verified(verified: Verified) -> bytes:
    """The file's content."""
    return msgspec.json.encode(verified)


def decode_verified(data: bytes) -> Verified:
    """Reads the file's content; msgspec.DecodeError where it is none."""
    return msgspec.json.decode(data, type=Verified)
