"""Shell: free ports on loopback."""

from __future__ import annotations

import contextlib
import json
import random
import socket
from collections.abc import Container
from pathlib import Path

from ingest.contract.errors import UnavailableError

HOST = "127.0.0.1"
FIRST_PORT = 20_000
TRIES = 200


def is_free(port: int) -> bool:
    """Whether a server could listen on the port, by the rule that servers use (a connection that lingers is no hindrance)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(but: Container[int] = ()) -> int:
    """A free port below those that the kernel hands to clients, and none of `but`.

    A client that keeps knocking at a port of the kernel's range, while its server is down, can get that very port for its own
    end and connect to itself; the server could then not come back.
    """
    limit = 32_768
    with contextlib.suppress(OSError, ValueError):
        limit = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    first = min(FIRST_PORT, max(1024, limit - 5000))
    choose = random.SystemRandom()
    for _ in range(TRIES):
        port = choose.randrange(first, max(limit, first + 1000))
        if port not in but and is_free(port):
            return port
    raise UnavailableError(f"no free port on {HOST} between {first} and {limit}: end some servers and start again")


def stable_ports(path: Path) -> tuple[int, int]:
    """Broker's and controller's port: those in the file at `path` while both are free, else new ones, which are written to it.

    Clients find a broker that was killed again where it was.
    """
    earlier: list[int] = []
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        content = json.loads(path.read_text())
        earlier = [int(content["broker"]), int(content["controller"])]
    if len(set(earlier)) == 2 and all(0 < port < 65_536 and is_free(port) for port in earlier):
        return earlier[0], earlier[1]
    broker = free_port(but=earlier)
    controller = free_port(but=(broker, *earlier))
    path.write_text(json.dumps({"broker": broker, "controller": controller}) + "\n")
    return broker, controller
