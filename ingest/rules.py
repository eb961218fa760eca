"""The rules of the plan that each decoded event goes through, whatever its protocol, in order: what the event is checked against
comes first, so that a check sees what was sent; what changes its values comes after it."""

from __future__ import annotations

from ingest.contract.settings import Settings
from ingest.privacy.rule import Privacy
from ingest.protocols import EventRule
from ingest.tracking import Tracking


def rules_of(settings: Settings, privacy: Privacy | None = None) -> tuple[EventRule, ...]:
    """The rules that these settings ask for; () for none, which costs nothing."""
    rules: list[EventRule] = []
    if settings.events:
        rules.append(Tracking(settings))
    if privacy is not None:
        rules.append(privacy)
    return tuple(rules)
