"""Decompression with a bound: a bomb costs no more memory than the limit."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from typing import Protocol

from ingest.reasons import Reason, RefusedError

try:
    from compression import zstd  # type: ignore[import-not-found, unused-ignore] # Python 3.14 and newer
except ImportError:
    from backports import zstd

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
#: 8 MiB of what came before may be referred to: as much as RFC 9659 lets senders ask for. A frame may claim 2 GiB.
_ZSTD_OPTIONS = {zstd.DecompressionParameter.window_log_max: 23}
#: Gzip members and zstd frames that may follow each other: SDKs send one, and each costs a copy of all that is left.
_MAX_MEMBERS = 100
_UNSUPPORTED = ("br", "compress", "snappy", "lz4")


class _Stream(Protocol):
    """One member, or frame, as it is decompressed."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """At most so many bytes of it."""

    @property
    def eof(self) -> bool:
        """Whether its end was reached."""

    @property
    def unused_data(self) -> bytes:
        """What came after its end."""


_zstd_stream: Callable[[], _Stream] = partial(zstd.ZstdDecompressor, options=_ZSTD_OPTIONS)


def inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """The body as it was before compression.

    Gzip and zstd are known by their magic bytes, whatever the headers say: some SDKs send gzip without Content-Encoding, some
    proxies inflate it and leave the header. Raises RefusedError TOO_LARGE beyond `limit` bytes, BAD_ENCODING for broken or
    unknown compression.
    """
    if body[:2] == _GZIP_MAGIC:
        # padding of zeros may follow the last member
        return _bounded(body, partial(zlib.decompressobj, 16 + zlib.MAX_WBITS), limit, padding=b"\0")
    if body[:4] == _ZSTD_MAGIC:
        return _bounded(body, _zstd_stream, limit)
    encoding = encoding.strip().lower()
    if body[:1] in b"{[":
        return body
    if encoding == "deflate":
        # RFC 9110 means zlib's format; some senders mean the bare stream
        wbits = zlib.MAX_WBITS if body[:1] == b"\x78" else -zlib.MAX_WBITS
        return _bounded(body, partial(zlib.decompressobj, wbits), limit, single=True)
    if encoding == "zstd":  # it may begin with a frame that is to be skipped
        return _bounded(body, _zstd_stream, limit)
    if encoding in _UNSUPPORTED:
        raise RefusedError(Reason.BAD_ENCODING, f'Content-Encoding "{encoding}" is not supported: send gzip, zstd, or none')
    return body


def _bounded(body: bytes, start: Callable[[], _Stream], limit: int, padding: bytes = b"", single: bool = False) -> bytes:
    """What members give together; `padding` may follow them, and with `single` whatever follows the first is not looked at."""
    parts: list[bytes] = []
    size = 0
    rest = body
    try:
        while rest:
            stream = start()
            part = stream.decompress(rest, limit - size + 1)
            size += len(part)
            if size > limit:
                raise RefusedError(Reason.TOO_LARGE, f"the body is larger than {limit} bytes once decompressed")
            parts.append(part)
            if len(parts) > _MAX_MEMBERS:
                raise RefusedError(Reason.BAD_ENCODING, f"more than {_MAX_MEMBERS} compressed parts follow each other")
            if not stream.eof:
                raise RefusedError(Reason.BAD_ENCODING, "the compressed body is cut off")
            rest = b"" if single else stream.unused_data.lstrip(padding)
    except (zlib.error, zstd.ZstdError) as error:
        raise RefusedError(Reason.BAD_ENCODING, f"the body cannot be decompressed: {error}") from error
    return parts[0] if len(parts) == 1 else b"".join(parts)
