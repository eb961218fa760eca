"""Shell: the local broker as a part that is watched over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from deploy.kafka.broker import LocalBroker


class Broker:
    """The local broker; its `begin` returns when it answers."""

    name = "broker"

    def __init__(self, data_dir: Path, say: Callable[[str], None]) -> None:
        self._broker = LocalBroker(data_dir, say)
        self._begun = False

    @property
    def bootstrap(self) -> str:
        """host:port."""
        return self._broker.bootstrap

    def begin(self) -> None:
        self._broker.start()
        self._begun = True

    def ready(self) -> bool:
        return self._broker.alive

    def ended(self) -> tuple[int, str] | None:
        return (1, self._broker.last_words()) if self._begun and not self._broker.alive else None

    def stop(self) -> None:
        self._broker.stop()

    def kill(self) -> None:
        self._broker.kill()
        self._broker.stop()
