"""Whose event it is, by the ids that a Sensors SDK sends, and which ids it says are one person."""

from __future__ import annotations

from typing import NamedTuple

from ingest.contract.event import EventType, Merge
from ingest.reasons import Reason, RefusedError

LOGIN = "$identity_login_id"
#: Identities that name a device or a visitor, not what was bound to it.
_VISITORS = frozenset(
    {
        *("$identity_cookie_id", "$identity_anonymous_id", "$identity_mp_id", "$identity_android_id", "$identity_android_uuid"),
        *("$identity_idfv", "$identity_ios_uuid", "$identity_mac_serial_id", "$identity_mac_uuid", LOGIN),
    }
)


class Identity(NamedTuple):
    """The person, the merge that the event tells of, and all ids by name."""

    person: str
    merge: Merge | None
    ids: dict[str, str]


def identify(
    kind: EventType,
    *,
    distinct: str,
    original: str,
    login: str,
    anonymous: str,
    identities: dict[str, str],
    is_login_id: bool,
) -> Identity:
    """The identity of an event that is not about an item. Raises RefusedError NO_PERSON.

    In this order somebody is known as a user: `login_id`; a login event; `$is_login_id`; the login among the identities where it
    is the distinct id; a distinct id that differs from the anonymous one. Else the visitor is the distinct id.
    """
    ids = dict(identities)
    if distinct:
        ids["distinct_id"] = distinct
    if login:
        ids["login_id"] = login
    if anonymous:
        ids["anonymous_id"] = anonymous
    if original:
        ids["original_id"] = original
    user = _user(kind, distinct, login, anonymous, identities, is_login_id)
    if user:
        person = f"u:{user}"
        ids["user_id"] = user
    elif distinct or anonymous:
        person = f"a:{distinct or anonymous}"
    else:
        raise RefusedError(Reason.NO_PERSON, "neither distinct_id nor login_id nor anonymous_id - at `$`")
    return Identity(person, _merge(kind, person, original or anonymous, identities), ids)


def _user(kind: EventType, distinct: str, login: str, anonymous: str, identities: dict[str, str], is_login_id: bool) -> str:
    if login:
        return login
    if kind == "identify" or is_login_id:
        return distinct
    if distinct and identities.get(LOGIN) == distinct:
        return distinct
    if not distinct:
        return identities.get(LOGIN, "")
    return distinct if anonymous and anonymous != distinct else ""


def _merge(kind: EventType, person: str, visitor: str, identities: dict[str, str]) -> Merge | None:
    if kind == "identify":
        return Merge(source=f"a:{visitor}", target=person, how="track_signup") if visitor else None
    if kind != "bind" or not identities:  # an unbinding joins nobody; what was unbound is in the ids
        return None
    # what was bound before is told again; what is bound now is added at the end
    name = next((one for one in reversed(identities) if one not in _VISITORS), next(iter(identities)))
    return Merge(source=f"a:{f'{name}+{identities[name]}'[:256]}", target=person, how=kind)
