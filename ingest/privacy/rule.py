"""The rule that takes out of each event what is not to be kept, and out of what is rejected likewise. Pure."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter

import msgspec

from ingest.contract.plan import Plan
from ingest.contract.privacy import Kept, PrivacySettings, matches
from ingest.json_text import DECODE_ERRORS, is_json
from ingest.line import EventLine
from ingest.privacy import addresses
from ingest.privacy.detectors import Detectors
from ingest.privacy.documents import WHOLE_NUMBER, rewrite
from ingest.privacy.hashing import Hasher
from ingest.privacy.ids import EventIds, Place
from ingest.reasons import Refusal

_YEAR_MS = 31_556_952_000
_FIRST_YEAR = 1970
#: An id that was made of the event's content: who tries all numbers that were masked finds the right one by it.
_CONTENT_ID = re.compile(r"[0-9a-f]{40}")
#: What a reason's words repeat of the event.
_QUOTED = re.compile(r"`[^`]*`|\"[^\"]*\"|'[^']*'")
_ADDRESS_NAMES = (b'ip"', b'Ip"', b'IP"', b'ddress"', b'ddr"')
#: Signs that libraries escape in all texts, and any other as an escape, as nobody has to write it: a name may be anything then.
_BY_LIBRARIES = frozenset("&<>")
_ESCAPED = re.compile(rb"\\u00(?!26|3[cCeE])[2-7][0-9a-fA-F]")
#: Columns of short texts, which may hold what somebody put there.
_TEXTS = ("channel", "version", "platform", "lib", "lib_version")
_CRC = "crc"
_CRC_MEMBER = b'"crc"'
_CONTENT_LENGTH = 40
_LEAST_ID = 5
_MOST_NAMES = 1000
_PLAIN_NAME = re.compile(r"[_$]")

#: What the counters call it, besides the detectors' kinds.
PROPERTY, ADDRESS, PAYLOAD = "property", "address", "payload"


class AppRules:
    """What holds for an app, made ready."""

    def __init__(self, kept: Kept, hasher: Hasher) -> None:
        self.kept = kept
        self.detectors = Detectors(kept.detect, kept.mask, hasher.number)
        self.addresses = kept.ip != "keep"
        self._denied = _needles(kept.deny)
        self._named = bool(kept.deny) or self.addresses
        self._any_escape = any(not one.isascii() or _BY_LIBRARIES.intersection(one) for one in kept.deny)
        self._slashed = any("/" in one for one in kept.deny)
        self._denied_ids: dict[str, bool] = {}

    def denies_id(self, name: str) -> bool:
        """Whether an id was taken from a property that is denied: `$device_id`, `deviceId` and `device_id` are the same there."""
        known = self._denied_ids.get(name)
        if known is None:
            plain = tuple(_PLAIN_NAME.sub("", one).lower() for one in self.kept.deny if one != "*")
            known = matches(plain, _PLAIN_NAME.sub("", name).lower())
            if len(self._denied_ids) < _MOST_NAMES:
                self._denied_ids[name] = known
        return known

    def concerns(self, data: bytes, year: int) -> bool:
        """Whether a JSON text has something that goes or is masked. Says yes too often rather than no."""
        if any(needle in data for needle in self._denied):
            return True
        if self._named and b"\\" in data and self._hides_a_name(data):
            return True
        if self.addresses and any(one in data for one in _ADDRESS_NAMES):
            return True
        return bool(self.detectors) and self.detectors.may_find(data) and self.detectors.finds(data, year)

    def _hides_a_name(self, data: bytes) -> bool:
        """Whether escapes may be a part of a name that is looked for."""
        if (self._any_escape and b"\\u" in data) or (self._slashed and b"\\/" in data):
            return True
        return _ESCAPED.search(data) is not None


class _EventChange:
    """How one document of an event is rewritten (ingest.privacy.documents.Change)."""

    def __init__(self, rules: AppRules, ids: EventIds | None, year: int, found: set[str]) -> None:
        self._rules = rules
        self._ids = ids
        self._year = year
        self._found = found
        self.place: Place = "counted"
        self.listed = False
        self.crc = False

    def leaves_out(self, name: str, top: bool) -> bool:
        kept = self._rules.kept
        if kept.ip == "drop" and name in addresses.NAMES:
            self._found.add(ADDRESS)
            return True
        if top and self.crc and name == _CRC:
            return True
        if matches(kept.deny, name) or (top and self.listed and kept.allow and not matches(kept.allow, name)):
            self._found.add(PROPERTY)
            return True
        return False

    def name(self, name: str) -> str:
        if self._ids is not None:
            name = self._ids.of_text(name, "", self.place)
        return self._masked(name)

    def text(self, value: str, name: str) -> str | None:
        if self._rules.kept.ip == "truncate" and name in addresses.NAMES:
            self._found.add(ADDRESS)
            return addresses.truncated(value) or None
        if self._ids is not None:
            value = self._ids.of_text(value, name, self.place)
        return self._masked(value)

    def number(self, value: str, name: str) -> str | None:
        if self._ids is not None and (hashed := self._ids.of_number(value, name, self.place)) is not None:
            return hashed
        whole = WHOLE_NUMBER.fullmatch(value)
        if whole is None:
            return None
        digits = whole["sign"] + whole["digits"]
        masked = self._masked(digits)
        return masked if masked != digits else None

    def _masked(self, text: str) -> str:
        detectors = self._rules.detectors
        return detectors.mask(text, self._year, self._found) if detectors else text


class Privacy:
    """An EventRule; `counts` are events by (app, what was found), until somebody takes them.

    key   for the HMACs. The events' ids need it in any case: one that is made of content would tell what was masked
    """

    def __init__(self, settings: PrivacySettings, plan: Plan, key: bytes) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._hasher = Hasher(key)
        self._hash_ids = settings.hash_ids
        self._rejected = settings.rejected
        self._apps: dict[str, AppRules] = {}
        for app in plan.apps:
            kept = settings.of(app.id)
            if self._hash_ids or not kept.all:
                self._apps[app.id] = AppRules(kept, self._hasher)

    def __call__(self, event: EventLine) -> None:
        """Changes the event."""
        rules = self._apps.get(event.app)
        if rules is None:
            return
        found: set[str] = set()
        ids = EventIds(event, self._hasher) if self._hash_ids else None
        year = _FIRST_YEAR + event.received // _YEAR_MS
        self._documents(event, rules, ids, year, found)
        self._columns(event, rules, ids, year)
        for what in found:
            self.counts[event.app, what] += 1

    def _documents(self, event: EventLine, rules: AppRules, ids: EventIds | None, year: int, found: set[str]) -> None:
        """Props, context, the verbatim event; and the texts that were taken from them."""
        listed = bool(rules.kept.allow)
        if listed:
            event.raw = ""  # which of its members are properties is not known any more
        raw, props, context = event.raw.encode(), bytes(event.props), bytes(event.context)
        crc = event.protocol == "sensors" and _CRC_MEMBER in context
        # Where the verbatim event is there, it has all that the others have; only a batch's own context is not in it.
        concerned = rules.concerns(raw or props, year) or (not (raw and context in raw) and rules.concerns(context, year))
        if rules.detectors and not raw:
            concerned = concerned or rules.concerns(
                f" {event.event} {event.channel} {event.version} {event.lib} {event.lib_version} ".encode(), year
            )
        if ids is None and not (concerned or listed or crc):
            return
        change = _EventChange(rules, ids, year, found)
        change.listed = listed
        event.props = _changed(props, change, ids, concerned or listed)
        change.crc = crc
        event.context = _changed(context, change, ids, concerned or listed or crc)
        change.listed = change.crc = False
        change.place = "verbatim"
        if raw:
            event.raw = bytes(_changed(raw, change, ids, concerned)).decode()
        if rules.detectors and concerned:
            for name in ("event", *_TEXTS):
                setattr(event, name, rules.detectors.mask(getattr(event, name), year, found))
            event.violations = [rules.detectors.mask(one, year, found) for one in event.violations]

    def _columns(self, event: EventLine, rules: AppRules, ids: EventIds | None, year: int) -> None:
        """The event's ids."""
        if rules.kept.deny and any(map(rules.denies_id, event.ids)):
            own = event.person[2:]
            event.ids = {name: value for name, value in event.ids.items() if value == own or not rules.denies_id(name)}
        made = len(event.id) == _CONTENT_LENGTH and _CONTENT_ID.fullmatch(event.id) is not None
        made = made or (bool(rules.detectors) and rules.detectors.mask(event.id, year, set()) != event.id)
        if ids is not None:
            made = made or any(len(one) >= _LEAST_ID and one in event.id for one in ids.hashes)
            event.event = ids.within(event.event)
            texts = f"{event.channel} {event.version} {event.platform} {event.lib} {event.lib_version}"
            if "%" in texts or any(map(texts.__contains__, ids.hashes)):
                for name in _TEXTS:
                    setattr(event, name, ids.of_text(getattr(event, name), name, "counted"))
            if event.violations:
                event.violations = [ids.within(one) for one in event.violations]
            event.ids = {name: ids.hashes.get(value, value) for name, value in event.ids.items()}
            hasher = self._hasher
            event.person = hasher.person(event.person)
            if event.merge is not None:
                source, target = hasher.person(event.merge.source), hasher.person(event.merge.target)
                event.merge = msgspec.structs.replace(event.merge, source=source, target=target)
        if made:
            event.id = self._hasher.event(event.id)

    def conceal(self, refusal: Refusal, received: int) -> Refusal:
        """What may be kept of something that was refused at `received` (ms).

        It was not decoded, so whose ids are in it is not known: with hash_ids or an allow list, in an app that is not known, and
        where it is no JSON (encoded, compressed, cut off), nothing is kept of it but the reason.
        """
        rules = self._apps.get(refusal.app)
        if self._rejected == "keep" or (refusal.app and rules is None):
            return refusal
        year = _FIRST_YEAR + received // _YEAR_MS
        payload, note = b"", "dropped"
        found: set[str] = set()
        if rules is not None and self._rejected == "mask" and not self._hash_ids and not rules.kept.allow:
            change = _EventChange(rules, None, year, found)
            change.place = "verbatim"
            with contextlib.suppress(*DECODE_ERRORS):
                if refusal.payload.lstrip()[:1] in (b"{", b"[") and is_json(refusal.payload):
                    payload, note = rewrite(refusal.payload, change), "masked"
        detail = refusal.detail
        if rules is not None and rules.detectors:
            detail = rules.detectors.mask(detail, year, found)
        if note == "dropped":
            detail = _QUOTED.sub("...", detail)
            found.add(PAYLOAD)
        for what in found:
            self.counts[refusal.app, what] += 1
        return msgspec.structs.replace(refusal, payload=payload, detail=detail, privacy=note)


def _changed(data: bytes, change: _EventChange, ids: EventIds | None, concerned: bool) -> msgspec.Raw:
    """A document, changed where something in it concerns the rules, or is an id."""
    if ids is not None:
        data, more = ids.replace_strings(data, change.place)
        concerned = concerned or more
    return msgspec.Raw(rewrite(data, change) if concerned else data)


def _needles(patterns: tuple[str, ...]) -> tuple[bytes, ...]:
    """What a text must have in it if it has a member of such a name, as JSON writes names."""
    found: dict[bytes, None] = {}
    for one in patterns:
        stem = one.removesuffix("*")
        for written in (json.dumps(stem), json.dumps(stem, ensure_ascii=False)):
            found[(written[:-1] if one[-1] == "*" else written).encode("utf-8", "surrogatepass")] = None
    return tuple(found)
