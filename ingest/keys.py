"""Write keys: which app a request, or an event in it, belongs to."""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Iterable

from ingest.contract.plan import App


class Keys:
    """All write keys of a plan. A look-up compares digests, so its time tells nothing about how much of a guess was right."""

    def __init__(self, apps: Iterable[App]) -> None:
        self._salt = hashlib.sha256(b"footfall write keys").digest()[:16]
        self._apps = {self._digest(key): app.id for app in apps for key in app.write_keys}

    def app_of(self, *candidates: str) -> str:
        """The app of the first key that is known; "" when none is."""
        for key in candidates:
            if key:
                app = self._apps.get(self._digest(key))
                if app is not None:
                    return app
        return ""

    def _digest(self, key: str) -> bytes:
        return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16, key=self._salt).digest()


def authorization_key(header: str) -> str:
    """The key in an Authorization header: `Bearer <key>`, or the user name of `Basic`; "" when there is none."""
    scheme, _, value = header.partition(" ")
    scheme, value = scheme.lower(), value.strip()
    if scheme == "bearer":
        return value
    if scheme != "basic":
        return ""
    try:
        user, _, _ = binascii.a2b_base64(value.encode("ascii")).decode().partition(":")
    except (ValueError, UnicodeError):
        return ""
    return user
