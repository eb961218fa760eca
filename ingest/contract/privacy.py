"""What is kept of what users are: the part of footfall.toml that the collector applies before anything leaves it.

The key is not among the settings, which every stage reads: the collector alone takes it, from `key_file` or its environment.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import msgspec

from ingest.contract.errors import ConfigError
from ingest.contract.plan import Plan
from ingest.contract.table import Id, Table

#: The environment variable that holds the key where no file does.
KEY_VARIABLE = "FOOTFALL_PRIVACY_KEY"

Detector = Literal["id_card", "id_card_15", "mobile", "bank_card"]
MaskStyle = Literal["mask", "hash", "drop"]
AddressRule = Literal["keep", "truncate", "drop"]
RejectedRule = Literal["mask", "drop", "keep"]
#: A property's name; with * at its end, all names that begin so.
NamePattern = Annotated[str, msgspec.Meta(pattern=r"^[^*]{0,128}\*?$", min_length=1)]


class AppPrivacy(Table, frozen=True, kw_only=True):
    """What an app has of its own; what is not given here is as in [privacy]."""

    allow: tuple[NamePattern, ...] | None = None
    deny: tuple[NamePattern, ...] | None = None
    detect: tuple[Detector, ...] | None = None
    mask: MaskStyle | None = None
    ip: AddressRule | None = None


class Kept(NamedTuple):
    """What holds for an app.

    allow     the properties that are kept, at the top of props and of context; () for all
    deny      properties that are removed, wherever they stand
    detect    the kinds of numbers that are looked for in all values; mask: what is left of one
    ip        what becomes of addresses that an SDK sent
    """

    allow: tuple[str, ...]
    deny: tuple[str, ...]
    detect: tuple[Detector, ...]
    mask: MaskStyle
    ip: AddressRule

    @property
    def all(self) -> bool:
        """Whether nothing is to be done."""
        return not self.allow and not self.deny and not self.detect and self.ip == "keep"


class PrivacySettings(Table, frozen=True, kw_only=True):
    """[privacy]: nothing is changed until it says so.

    hash_ids  user and device ids become HMACs, in all apps alike: a person in two apps stays one
    key_file  where the key is, for the collector's eyes only; without it FOOTFALL_PRIVACY_KEY is taken
    rejected  of payloads that are not accepted: mask applies what holds for events, and drops what cannot be looked into
    """

    hash_ids: bool = False
    key_file: str = ""
    allow: tuple[NamePattern, ...] = ()
    deny: tuple[NamePattern, ...] = ()
    detect: tuple[Detector, ...] = ()
    mask: MaskStyle = "mask"
    ip: AddressRule = "keep"
    rejected: RejectedRule = "mask"
    apps: dict[Id, AppPrivacy] = msgspec.field(default_factory=dict)

    def of(self, app: str) -> Kept:
        """What holds for an app."""
        own = self.apps.get(app) or AppPrivacy()
        return Kept(
            allow=self.allow if own.allow is None else own.allow,
            deny=self.deny if own.deny is None else own.deny,
            detect=self.detect if own.detect is None else own.detect,
            mask=own.mask or self.mask,
            ip=own.ip or self.ip,
        )

    @property
    def in_force(self) -> bool:
        """Whether anything is changed in any app."""
        return self.hash_ids or not all(self.of(app).all for app in ("", *self.apps))


def matches(patterns: tuple[str, ...], name: str) -> bool:
    """Whether a name is among the patterns."""
    return any(name.startswith(one[:-1]) if one[-1] == "*" else name == one for one in patterns)


def check_privacy(privacy: PrivacySettings, plan: Plan) -> None:
    """Raises ConfigError where a rule names what is not there, or would take away what the plan counts by."""
    known = {app.id for app in plan.apps}
    for app in privacy.apps:
        if app not in known:
            raise ConfigError(f'privacy.apps names the app "{app}", which is not in the plan')
    counted = [(f'segment "{one.id}"', one.source.removeprefix("props.")) for one in plan.segments if one.source[:6] == "props."]
    for funnel in plan.funnels:
        counted += [(f'funnel "{funnel.id}"', name) for step in (*funnel.steps, *funnel.exclude) for name in step.where]
    for app in sorted(known):
        kept = privacy.of(app)
        for who, path in counted:
            parts = path.split(".")
            names = [path, *parts]
            if any(matches(kept.deny, name) for name in names) or (
                kept.allow and not matches(kept.allow, path) and not matches(kept.allow, parts[0])
            ):
                raise ConfigError(f'{who} counts by the property "{path}", which privacy takes away in app "{app}"')
