"""Shell: whether the ports of footfall.toml are free."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

from deploy.up.parts import Door
from ingest.contract.errors import ConfigError, UnavailableError


def check_free(doors: Iterable[Door]) -> None:
    """Raises UnavailableError for the first port that another program holds, ConfigError for an address that is not here."""
    for door in doors:
        family = socket.AF_INET6 if ":" in door.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((door.host, door.port))
                probe.listen(1)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise UnavailableError(
                        f"port {door.port} is in use by another program: stop that, or set {door.key} in footfall.toml"
                    ) from error
                raise ConfigError(f"cannot listen on {door.host}:{door.port} ({door.key}): {error.strerror or error}") from error
