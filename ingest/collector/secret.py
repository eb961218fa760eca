"""Shell: takes the privacy key from where the settings say. No other stage does, and nothing logs or hands it on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ingest.contract.errors import ConfigError
from ingest.contract.privacy import KEY_VARIABLE, PrivacySettings

_LEAST = 32


def read_key(settings: PrivacySettings, environment: Mapping[str, str] = os.environ) -> bytes:
    """The key, without the line break at its end. Raises ConfigError when there is none, or a short one."""
    if settings.key_file:
        try:
            key = Path(settings.key_file).read_bytes().strip()
        except OSError as error:
            raise ConfigError(f"privacy.key_file {settings.key_file} cannot be read: {error.strerror}") from error
        where = f"privacy.key_file {settings.key_file}"
    else:
        key = environment.get(KEY_VARIABLE, "").strip().encode("utf-8", "surrogateescape")
        where = f"the environment variable {KEY_VARIABLE}"
    if len(key) < _LEAST:
        raise ConfigError(
            f"{where} {'is too short' if key else 'has no key'}, which [privacy] needs: "
            f"{_LEAST} characters or more, the same for all collectors (`openssl rand -hex 32` makes one)"
        )
    return key
