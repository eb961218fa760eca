"""Shell: the emitter that posts to a collector's native endpoint."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import math
import socket
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ingest.contract.errors import BadEventError, ConfigError, FootfallError, UnavailableError
from ingest.contract.settings import CollectorSettings
from ingest.emit.base import BaseEmitter, EmitterOptions, LaterError, Waiting
from ingest.emit.events import accept
from ingest.keys import Keys
from ingest.limits import limits_of
from ingest.protocols import Receipt

_LEAST_TIMEOUT_S = 0.001
_MAX_ANSWER_BYTES = 4 * 1024 * 1024
_MAX_WAIT_S = 60.0
#: Below that, gzip saves nothing worth its time.
_GZIP_FROM_BYTES = 1400
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class HttpEmitter(BaseEmitter):
    """Events of the app that a write key belongs to, posted in batches over one connection that stays open, gzipped.

    503, 429 and a collector that is away: the same events are sent again, with the same ids, after the time that it named or
    with growing pauses.
    """

    def __init__(self, url: str, key: str, options: EmitterOptions | None = None) -> None:
        """`url` is the collector's (https://events.bank.example), `key` a write key. Raises ConfigError."""
        super().__init__(options or EmitterOptions())
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError as error:
            raise ConfigError(f'"{url}" has no valid port: {error}') from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f'"{url}" is no address of a collector: give one like http://127.0.0.1:8090')
        if not key or not key.isascii() or not key.isprintable():
            raise ConfigError("an emitter over HTTP needs a write key: printable ASCII, as the plan has it")
        self._tls = parts.scheme == "https"
        self._host, self._port = parts.hostname, port
        self._path = f"{parts.path.rstrip('/')}/v1/events"
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}", "User-Agent": "footfall-emitter"}
        self._most = min(self.options.batch_events, CollectorSettings().max_batch_events)
        self._receipt = Receipt(0, Keys(()), limits_of(CollectorSettings()))
        self._connection: http.client.HTTPConnection | None = None

    def _prepare(self, raw: bytes) -> tuple[str, bytes]:
        accept(raw, "app", self._receipt._replace(received=time.time_ns() // 1_000_000))
        return "", raw

    def _deliver(self, batch: Sequence[Waiting], until: float) -> list[FootfallError | None]:
        found: list[FootfallError | None] = []
        for start in range(0, len(batch), self._most):
            part = batch[start : start + self._most]
            try:
                found += self._post(part, until)
            except UnavailableError as error:
                return found + [error] * (len(batch) - len(found))
        return found

    def _post(self, batch: Sequence[Waiting], until: float) -> list[FootfallError | None]:
        """One request. Raises UnavailableError when it has to be made again."""
        body = b"[" + b",".join(waiting.body for waiting in batch) + b"]"
        headers = self._headers
        if len(body) >= _GZIP_FROM_BYTES:
            body, headers = gzip.compress(body, compresslevel=1), headers | {"Content-Encoding": "gzip"}
        try:
            status, answer, retry_after = self._ask(body, headers, until)
        except (OSError, http.client.HTTPException) as error:
            self._release()
            raise UnavailableError(f"the collector is away: {error or type(error).__name__}") from error
        if status == 200 or (status == 400 and "rejected" in answer):
            return _outcomes(answer, len(batch))
        said = f"the collector answers {status}: {answer.get('message', '')}"
        if status == 413 and len(batch) > 1:  # its limits are below ours
            self._most = max(1, len(batch) // 2)
            raise UnavailableError(said)
        if status in (408, 429) or status >= 500:
            raise LaterError(said, retry_after)
        refusal: FootfallError = BadEventError(said) if status in (400, 413) else ConfigError(said)
        return [refusal] * len(batch)

    def _ask(self, body: bytes, headers: dict[str, str], until: float) -> tuple[int, dict[str, Any], float]:
        """Status, answer and Retry-After (s)."""
        kept = self._connection is not None
        try:
            found = self._exchange(body, headers, until)
        except (ConnectionError, http.client.BadStatusLine):
            if not kept or self._give_up.is_set() or time.monotonic() >= until:
                raise
            self._release()  # it had been closed while nothing was sent: sent again, the ids are the same
            found = self._exchange(body, headers, until)
        return found

    def _exchange(self, body: bytes, headers: dict[str, str], until: float) -> tuple[int, dict[str, Any], float]:
        timeout_s = max(_LEAST_TIMEOUT_S, until - time.monotonic())
        connection = self._connection
        if connection is None:
            kind = http.client.HTTPSConnection if self._tls else http.client.HTTPConnection
            connection = self._connection = kind(self._host, self._port, timeout=timeout_s)
            connection.connect()
        connection.sock.settimeout(timeout_s)
        connection.request("POST", self._path, body, headers)
        response = connection.getresponse()
        text = response.read(_MAX_ANSWER_BYTES)
        if response.will_close or response.status != 200:
            self._release()
        answer: dict[str, Any] = {}
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            answer = _decode(text)
        return response.status, answer, _seconds(response.headers.get("Retry-After", ""))

    def _interrupt(self) -> None:
        connection = self._connection
        sock = connection.sock if connection is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):  # below TLS: what is being read ends, and the thread that reads it closes it
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _outcomes(answer: dict[str, Any], count: int) -> list[FootfallError | None]:
    """What the collector says of each event; raises UnavailableError when it is no answer of a collector."""
    rejected = answer.get("rejected")
    if not isinstance(rejected, list) or answer.get("accepted") != count - len(rejected):
        raise UnavailableError("what answered is no collector, or the answer is not about these events")
    found: list[FootfallError | None] = [None] * count
    for one in rejected:
        index = one.get("index") if isinstance(one, dict) else None
        if not isinstance(index, int) or not 0 <= index < count:
            raise UnavailableError("what answered is no collector")
        found[index] = BadEventError(f"{one.get('detail')} ({one.get('reason')})")
    return found


def _seconds(text: str) -> float:
    try:
        wait_s = float(text)
    except ValueError:
        return 0.0
    return min(_MAX_WAIT_S, max(0.0, wait_s)) if math.isfinite(wait_s) else 0.0
