"""Shell: reads what the last `footfall verify` left under the data directory."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ingest.contract.settings import Settings
from sinks.contract.verified import VERIFIED_FILE, Verified, decode_verified


def last_verified(settings: Settings) -> Verified | None:
    """None where nothing was verified yet, or what is there can't be read."""
    try:
        return decode_verified((Path(settings.data_dir) / VERIFIED_FILE).read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
