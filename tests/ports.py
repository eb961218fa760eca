"""Free ports for tests that share the machine with others: each process of a run has a range of its own, and gives no port twice.

A port is free between the moment it is chosen and the one a server takes it; two processes that choose at random from one range
would meet in it now and then.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Container

from deploy.kafka.ports import FIRST_PORT, is_free

_FIRST, _EACH = 10_000, 2_500
assert _FIRST + 4 * _EACH <= FIRST_PORT, "brokers choose theirs above"

_process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
_begin = random.SystemRandom().randrange(_EACH)
_next = itertools.count(_begin)


def free_port(but: Container[int] = ()) -> int:
    """A free port that nobody else in this run is given, and none of `but`."""
    for number in itertools.islice(_next, _EACH):
        port = _FIRST + _process * _EACH + number % _EACH
        if port not in but and is_free(port):
            return port
    raise AssertionError("no port is free")
