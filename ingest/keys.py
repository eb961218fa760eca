"""Write keys: which app a request, or an event in it, belongs to, and what is said of a key that does not count."""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from ingest.contract.plan import App
from ingest.reasons import Reason, RefusedError


class Known(NamedTuple):
    """A key that the plan has; `digest` stands for it where the key itself should not lie about."""

    digest: bytes
    app: str
    revoked: bool


class Keys:
    """All write keys of a plan.

    Only keyed digests are held and compared: how long a look-up takes says nothing about how much of a guess was right, and with
    a secret salt nobody can tell which guesses would share a digest's beginning.
    """

    def __init__(self, apps: Iterable[App], salt: bytes = b"footfall") -> None:
        self._salt = salt
        self._known: dict[bytes, Known] = {}
        for app in apps:
            for keys, revoked in ((app.write_keys, False), (app.revoked_keys, True)):
                for digest in map(self._digest, keys):
                    self._known[digest] = Known(digest, app.id, revoked)

    def app_of(self, *candidates: str) -> str:
        """The app of the first key that is known and not revoked; "" when there is none."""
        for key in candidates:
            if key:
                found = self._known.get(self._digest(key))
                if found is not None and not found.revoked:
                    self._used(found)
                    return found.app
        return ""

    def owner_of(self, *candidates: str) -> str:
        """The app that a key belongs to or belonged to, whether it counts or not; "" for keys that nobody ever had."""
        found = self._known_of(candidates)
        return found.app if found else ""

    def refusal(self, *candidates: str) -> RefusedError:
        """Why `app_of` found no app: a revoked key, or none that is known."""
        found = self._known_of(candidates)
        if found:
            return RefusedError(Reason.REVOKED_KEY, f'this write key of the app "{found.app}" was revoked', found.app)
        return RefusedError(Reason.UNKNOWN_KEY, "no app of the plan has this write key (nor token, nor project)")

    def _known_of(self, candidates: Iterable[str]) -> Known | None:
        found = [known for key in candidates if key and (known := self._known.get(self._digest(key)))]
        return next((known for known in found if not known.revoked), found[0] if found else None)

    def _digest(self, key: str) -> bytes:
        return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16, key=self._salt).digest()

    def _used(self, known: Known) -> None:
        """`KeyUse` remembers it."""


class KeyUse(Keys):
    """The same keys for one request, and how often it named which: `hits`, by digest."""

    def __init__(self, keys: Keys) -> None:
        self._salt = keys._salt
        self._known = keys._known
        self.hits: dict[bytes, int] = {}

    def _used(self, known: Known) -> None:
        self.hits[known.digest] = self.hits.get(known.digest, 0) + 1

    def charge(self, events: int, *candidates: str) -> dict[bytes, int]:
        """What each key owes for a request of that many events: the only one all of them, of several each its own; where none
        was asked for, the first of the candidates that is known. Keys that are not known share the entry b""."""
        if len(self.hits) > 1:
            return self.hits
        known = None if self.hits else self._known_of(candidates)
        return {known.digest if known else next(iter(self.hits), b""): max(1, events)}


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
