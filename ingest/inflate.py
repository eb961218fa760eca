"""Decompression with a bound: a bomb costs no more memory than the limit."""

from __future__ import annotations

import zlib

from ingest.reasons import Reason, RefusedError

GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS
#: Gzip members that may follow each other: SDKs send one, and each costs a copy of all that is left.
_MAX_MEMBERS = 100
_UNSUPPORTED = ("br", "zstd", "compress", "snappy", "lz4")


def inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """The body as it was before compression.

    Gzip is known by its magic bytes, whatever the headers say: some SDKs send it without Content-Encoding, some proxies inflate
    it and leave the header. Raises RefusedError TOO_LARGE beyond `limit` bytes, BAD_ENCODING for broken or unknown compression.
    """
    if body[:2] == GZIP_MAGIC:
        return _bounded(body, _GZIP, limit)
    encoding = encoding.strip().lower()
    if encoding == "deflate" and body[:1] not in b"{[":
        # RFC 9110 means zlib's format; some senders mean the bare stream
        return _bounded(body, zlib.MAX_WBITS if body[:1] == b"\x78" else -zlib.MAX_WBITS, limit)
    if encoding in _UNSUPPORTED and body[:1] not in (b"{", b"["):
        raise RefusedError(Reason.BAD_ENCODING, f'Content-Encoding "{encoding}" is not supported: send gzip, or none')
    return body


def _bounded(body: bytes, wbits: int, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    rest = body
    try:
        while rest:
            stream = zlib.decompressobj(wbits)
            part = stream.decompress(rest, limit - size + 1)
            size += len(part)
            if size > limit:
                raise RefusedError(Reason.TOO_LARGE, f"the body is larger than {limit} bytes once decompressed")
            parts.append(part)
            if len(parts) > _MAX_MEMBERS:
                raise RefusedError(Reason.BAD_ENCODING, f"more than {_MAX_MEMBERS} gzip members follow each other")
            if not stream.eof:
                raise RefusedError(Reason.BAD_ENCODING, "the compressed body is cut off")
            # gzip members may follow each other; padding of zeros may follow the last
            rest = stream.unused_data.lstrip(b"\0") if wbits == _GZIP else b""
    except zlib.error as error:
        raise RefusedError(Reason.BAD_ENCODING, f"the body cannot be decompressed: {error}") from error
    return parts[0] if len(parts) == 1 else b"".join(parts)
