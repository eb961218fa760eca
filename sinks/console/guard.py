"""Who may look: tokens, host names, and the headers that keep the page to itself."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit

from sinks.api.errors import ApiError

_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
#: Of every answer. Scripts, styles and data come from here and nowhere else; nothing may frame the page.
HEADERS = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
)
CHALLENGE = ("WWW-Authenticate", 'Basic realm="Footfall", charset="UTF-8"')


def check(headers: Mapping[str, str], token: str) -> None:
    """Raises ApiError: 401 without the token where there is one; 403 under a foreign name where there is none.

    Without a token the door is on loopback, and only the name in the request keeps a web page elsewhere, whose name was made
    to point to this machine, from reading it.
    """
    if token:
        # Constant time, whatever was sent.
        if not hmac.compare_digest(_sent(headers.get("authorization", "")), token.encode()):
            raise ApiError(
                401, "unauthorized", "the token is missing or wrong: send `Authorization: Bearer <sinks.console_token>`"
            )
        return
    if host_name(headers.get("host", "")) not in _LOOPBACK_NAMES:
        raise ApiError(403, "foreign_host", "ask for 127.0.0.1 or localhost; other names need sinks.console_token")


def _sent(authorization: str) -> bytes:
    kind, _, value = authorization.partition(" ")
    if kind.lower() == "bearer":
        return value.strip().encode(errors="replace")
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return b""


def host_name(host: str) -> str:
    """The name in a Host header, without port and brackets; "" for nonsense."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
