"""Whose event it is, by what a PostHog SDK sends: one `distinct_id`, a visitor's before `identify` and a user's after it."""

from __future__ import annotations

from typing import NamedTuple

from ingest.contract.event import Merge
from ingest.reasons import Reason, RefusedError

#: What the browser SDK sends instead of an id where it may keep none.
_NOBODY = "$posthog_cookieless"


class Identity(NamedTuple):
    """The person, the merge that the event tells of, and the ids that say who it is."""

    person: str
    merge: Merge | None
    ids: dict[str, str]


def identify(
    name: str,
    *,
    distinct: str,
    device: str,
    user: str,
    visitor: str,
    alias: str,
    is_identified: object,
    has_profile: object,
    lib: str,
) -> Identity:
    """The identity of an event. Raises RefusedError NO_PERSON.

    distinct       `distinct_id`; device: `$device_id`; user: `$user_id`; visitor: `$anon_distinct_id`
    is_identified  `$is_identified`; has_profile: `$process_person_profile`, as they came
    """
    ids = {
        key: value
        for key, value in (
            ("distinct_id", distinct),
            ("device_id", device),
            ("user_id", user),
            ("anon_distinct_id", visitor),
            ("alias", alias),
        )
        if value
    }
    if _NOBODY in (distinct, device):
        raise RefusedError(Reason.NO_PERSON, "a cookieless event says of nobody whose it is - at `$.distinct_id`")
    if not distinct and not device:
        raise RefusedError(Reason.NO_PERSON, "neither distinct_id nor $device_id - at `$`")
    known = bool(distinct) and (name == "$identify" or _is_user(distinct, device, user, is_identified, has_profile, lib))
    merge = None
    if name == "$identify" and visitor and distinct:
        merge = Merge(source=f"a:{visitor}", target=f"u:{distinct}", how="identify")
    elif name == "$merge_dangerously" and alias and distinct:
        merge = Merge(source=f"u:{alias}", target=f"u:{distinct}", how="alias")
    elif name == "$create_alias" and alias and distinct:
        # SDKs differ in which of the two is the new one: posthog-python puts the old id into distinct_id, the others into alias;
        # a visitor's distinct_id is always the old one.
        old, new = (distinct, alias) if lib == "posthog-python" or not known else (alias, distinct)
        merge = Merge(source=f"a:{old}", target=f"u:{new}", how="alias")
    own = f"u:{distinct}" if known else f"a:{distinct or device}"
    person = merge.target if merge is not None else own
    if person[:2] == "u:":
        ids["user_id"] = person[2:]
        if merge is not None and merge.source[:2] == "a:":
            ids["anonymous_id"] = merge.source[2:]
    else:
        ids["anonymous_id"] = person[2:]
    return Identity(person, merge, ids)


def _is_user(distinct: str, device: str, user: str, is_identified: object, has_profile: object, lib: str) -> bool:
    """Whether a distinct id is a user's. The first that is told decides: `$is_identified`, `$user_id`, no person profile wanted,
    the device's own id. What tells nothing is a server's, which knows its users."""
    if isinstance(is_identified, bool):
        return is_identified
    if user:
        return True
    if has_profile is False:
        return False
    return not device or (device != distinct and lib != "web")
