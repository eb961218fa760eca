"""Whether rejected rows would be taken now, by the plan and the keys as they are: the collector's own rules, without sending."""

from __future__ import annotations

from ingest.contract.rejected import Prospect, Rejected
from ingest.contract.settings import Settings
from ingest.intake import Request, take
from ingest.keys import Keys
from ingest.limits import limits_of
from ingest.resubmit import CannotResendError, resend
from ingest.routes import ROUTES
from ingest.rules import rules_of


class Checker:
    """Looks at rows with the plan and the keys of these settings; `key` is used where a row's own is not known."""

    def __init__(self, settings: Settings, key: str = "") -> None:
        self._keys = Keys(settings.apps)
        self._key = key
        self._of_app = {app.id: app.write_keys[0] for app in settings.apps if app.write_keys}
        self._limits = limits_of(settings.collector)
        self._rules = rules_of(settings)

    def look(self, rejection: str, row: Rejected, now: int) -> Prospect:
        """What would become of a row, by its id, that is sent again at `now` (ms)."""
        named = row.context.get("key", "")
        key = self._of_app.get(row.app, "") or (named if self._keys.app_of(named) else "") or self._key
        try:
            request = resend(row, rejection)
        except CannotResendError as error:
            return Prospect(rejection, None, key, 0, f"cannot be sent again: {error}")
        route = ROUTES.get(request.path)
        if route is None:
            return Prospect(rejection, None, key, 0, f"cannot be sent again: nothing is at {request.path[:80]} any more")
        headers = request.headers | ({"Authorization": f"Bearer {key}"} if key else {})
        asked = Request(request.method, request.path, request.query, headers, request.body)
        intake = take(asked, route, self._keys, self._limits, now, self._rules)
        why = f"{intake.refused[0].reason}: {intake.refused[0].detail}" if intake.refused else ""
        if not intake.accepted and not why:
            why = "there is no event in it"
        return Prospect(rejection, request if intake.accepted else None, key, len(intake.accepted), why)
