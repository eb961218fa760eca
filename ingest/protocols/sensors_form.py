"""The envelopes of Sensors Analytics' SDKs: events in a form, a query, a beacon's text or plain JSON; base64; gzip or not."""

from __future__ import annotations

import binascii
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from ingest.inflate import inflate
from ingest.protocols.java_hash import java_hash
from ingest.reasons import Reason, RefusedError

_WHITESPACE = b" \t\r\n"
_MAX_FIELDS = 32
#: The value of the field gzip that says so.
_ENCRYPTED = b"9"
_URL_SAFE = bytes.maketrans(b"-_ ", b"+/+")
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n"


class Payload(NamedTuple):
    """JSON as the SDK made it (an event, or an array of events).

    crc      the checksum that came with it, "" for none; crc_ok: whether it is that of the text as it was sent
    """

    text: bytes
    crc: str = ""
    crc_ok: bool = True


def read_fields(text: bytes) -> dict[str, bytes]:
    """The fields of a form or a query; the first of a name counts. A plus sign stays one: base64 has it."""
    fields: dict[str, bytes] = {}
    for part in text.split(b"&", _MAX_FIELDS):
        name, _, value = part.partition(b"=")
        fields.setdefault(name.decode("latin-1"), unquote_to_bytes(value) if b"%" in value else value)
    return fields


def field_text(fields: dict[str, bytes], name: str) -> str:
    """A field as text; "" when it is not there."""
    value = fields.get(name)
    return value.decode("utf-8", "replace") if value else ""


def read_payload(fields: dict[str, bytes], limit: int) -> Payload | None:
    """The events in a form's fields, decompressed to `limit` bytes at most; None when there are none.

    Raises RefusedError.
    """
    value = fields.get("data_list") or fields.get("data")
    if not value:
        return None
    text = _sealed(value, limit) if fields.get("gzip") == _ENCRYPTED else decode_value(value, limit)
    crc = (field_text(fields, "crc") or field_text(fields, "ext").removeprefix("crc="))[:32]
    return Payload(text, crc, not crc or crc == str(java_hash(value)))


def _sealed(value: bytes, limit: int) -> bytes:
    """The JSON of what is said to be encrypted, which may be an envelope, or clear all the same. Raises RefusedError."""
    try:
        text = decode_value(value, limit)
    except RefusedError as error:
        if error.reason is Reason.TOO_LARGE:
            raise
        text = b""
    if text.lstrip(_WHITESPACE)[:1] not in (b"[", b"{"):
        raise RefusedError(Reason.ENCRYPTED, "an encrypted payload (gzip=9)")
    return text


def read_body(body: bytes, limit: int) -> Payload | None:
    """The events in a request's body: a form (whatever the content type says), or JSON as it is. Raises RefusedError."""
    start = body.lstrip(_WHITESPACE)[:1]
    if start in (b"[", b"{"):
        return Payload(body)
    return read_payload(read_fields(body.strip(_WHITESPACE)), limit)


def decode_value(value: bytes, limit: int) -> bytes:
    """The JSON in a `data` field: base64, gzip inside of it or not; JSON as it is from the encrypting plugin."""
    value = value.strip(_WHITESPACE)
    if value[:1] in (b"{", b"["):
        return value
    text = value.translate(_URL_SAFE)
    if text.translate(None, _ALPHABET):  # something is left
        raise RefusedError(Reason.BAD_BODY, "data is neither base64 nor JSON")
    try:
        raw = binascii.a2b_base64(text + b"=" * (-len(text) % 4))
    except binascii.Error as error:
        raise RefusedError(Reason.BAD_BODY, f"data is no base64: {error}") from error
    return inflate(raw, "", limit)
