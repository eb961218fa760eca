"""What the settings say about requests, ready for use, as one value: reading the settings anew replaces it whole. Pure."""

from __future__ import annotations

from typing import NamedTuple

from ingest.addresses import Network, read_networks
from ingest.buckets import Buckets
from ingest.contract.settings import Settings
from ingest.keys import Keys
from ingest.limits import Limits, limits_of
from ingest.origins import Origins
from ingest.privacy.rule import Privacy
from ingest.protocols import Concealer, EventRule
from ingest.rules import rules_of


class Policy(NamedTuple):
    """Who may send, how much, and from where.

    by_key      buckets of events for each write key; by_address: of requests for each client address
    rules       what each decoded event goes through; `privacy` is one of them
    proxies     the networks whose `forwarded_header` is believed
    """

    keys: Keys
    limits: Limits
    origins: Origins
    by_key: Buckets
    by_address: Buckets
    proxies: tuple[Network, ...]
    forwarded_header: str
    rules: tuple[EventRule, ...]
    privacy: Privacy | None = None

    @property
    def conceal(self) -> Concealer | None:
        """What is applied to what is refused."""
        return self.privacy.conceal if self.privacy is not None else None


def policy_of(settings: Settings, salt: bytes, privacy_key: bytes = b"") -> Policy:
    """The policy of a collector; `salt` is secret and of this process, `privacy_key` that of the settings' [privacy].

    Raises ConfigError.
    """
    collector = settings.collector
    privacy = Privacy(settings.privacy, settings, privacy_key) if settings.privacy.in_force else None
    return Policy(
        keys=Keys(settings.apps, salt),
        limits=limits_of(collector),
        origins=Origins(collector.cors_origins),
        by_key=Buckets(collector.key_events_per_s, collector.key_burst_events),
        by_address=Buckets(collector.address_requests_per_s, collector.address_burst_requests),
        proxies=read_networks(collector.trusted_proxies),
        forwarded_header=collector.forwarded_header,
        rules=rules_of(settings, privacy),
        privacy=privacy,
    )
