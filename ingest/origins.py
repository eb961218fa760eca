"""Which web pages may send: their origins (scheme, host and port), and the headers that tell a browser so. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ingest.contract.errors import ConfigError

ALLOWED_HEADERS = (
    "authorization, content-type, content-encoding, x-write-key, anonymousid, sentat, x-retry-count, rsa-retry-attempt, "
    "rsa-retry-reason, rsa-since-first-attempt, rsa-since-last-attempt, sp-anonymous, dry-run, posthog-sdk-info, "
    "posthog-attempt, posthog-request-id, posthog-request-timestamp"
)
MAX_AGE_S = 7200
_ORIGIN = re.compile(r"(?:[a-z][a-z0-9+.-]*)://(?:\*\.)?[a-z0-9.\[\]:_-]*", re.IGNORECASE)


class Origins:
    """An allow-list of origins: `*` is any, `https://*.bank.example` any host below it, `null` is a page without one."""

    def __init__(self, allowed: Sequence[str]) -> None:
        """Raises ConfigError for what is no origin."""
        for one in allowed:
            if one not in ("*", "null") and not _ORIGIN.fullmatch(one):
                raise ConfigError(
                    f'collector.cors_origins has "{one}": expected "*", or an origin such as https://www.bank.example '
                    "(scheme, host, port if it is not the usual one; no path)"
                )
        self._any = "*" in allowed
        self._exact = frozenset(one.lower() for one in allowed if "*" not in one)
        parts = [one.lower().partition("//") for one in allowed]
        self._below = tuple((f"{scheme}//", host[1:]) for scheme, _, host in parts if host.startswith("*."))

    def allow(self, origin: str) -> bool:
        """Whether a page of that origin may send; a request of no page has none ("") and always may."""
        if self._any or not origin:
            return True
        origin = origin.lower()
        if origin in self._exact:
            return True
        return any(
            origin.startswith(scheme) and origin.endswith(host) and len(origin) > len(scheme) + len(host)
            for scheme, host in self._below
        )

    def headers(self, origin: str, methods: Sequence[str] = ()) -> dict[str, str]:
        """The headers of an answer, with `methods` those of the answer to a preflight.

        The origin itself is echoed, never `*`: SDKs send with credentials. A page that may not send gets no such header, which
        its browser takes for a no.
        """
        found = {"Vary": "Origin"}
        if not origin or not self.allow(origin):
            return found
        found["Access-Control-Allow-Origin"] = origin
        found["Access-Control-Allow-Credentials"] = "true"
        found["Access-Control-Expose-Headers"] = "Retry-After"
        if methods:
            found["Access-Control-Allow-Methods"] = ", ".join((*methods, "OPTIONS"))
            found["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
            found["Access-Control-Max-Age"] = str(MAX_AGE_S)
        return found
