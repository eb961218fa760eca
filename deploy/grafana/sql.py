"""What the dashboards' queries have in common: the app's zone, the chosen days, and the variables.

Days are local dates of the app. A day's place on the time axis is its local midnight, by the app's zone: the data source's own
intervals of a day begin at midnight UTC, so they are not used. "Today" is the day of the end of the dashboard's time range.
"""

from __future__ import annotations

import re

from deploy.grafana.model import Json, variable


def zone(query: str) -> str:
    """Before a query: the zone that another one finds, and today in it. Where nothing is found yet, any zone will do."""
    return f"WITH coalesce(nullIf(({query}), ''), 'UTC') AS zone,\n    toDate($__toTime, zone) AS today"


#: Before a query of one app: its zone (a constant, as functions of dates want it) and today.
ZONE = zone("SELECT any(time_zone) FROM apps WHERE id = ${app:sqlstring}")
#: The rows of the chosen app, of the facet, of the days in the time range.
APP = "app = ${app:sqlstring}"
FACET = "facet = if(${facet:sqlstring} = 'any', '', ${facet:sqlstring})"
DAYS = "day BETWEEN toDate($__fromTime, zone) AND today"
#: A local day's place on the time axis.
MIDNIGHT = "toDateTime(day, zone) AS time"
#: The time range on columns in epoch milliseconds.
RECEIVED = "received BETWEEN toUnixTimestamp($__fromTime) * 1000 AND toUnixTimestamp($__toTime) * 1000"
REJECTED = "rejected.at BETWEEN toUnixTimestamp($__fromTime) * 1000 AND toUnixTimestamp($__toTime) * 1000"

_FACETS = """SELECT if(facet = '', 'any', facet) AS id, if(facet = '', 'any activity', facet) AS text
FROM (SELECT DISTINCT facet FROM active_users WHERE window = 'month'{where})
ORDER BY facet"""


def app_variable(groups: bool = True) -> Json:
    """An app, or a group where these are wanted too."""
    if not groups:
        return variable("app", "App", "An app of the plan", "SELECT id, name FROM apps WHERE kind = 'app' ORDER BY name")
    return variable("app", "App", "An app, or a group of apps counted as one", "SELECT id, name FROM apps ORDER BY kind, name")


def facet_variable(of_app: bool = True) -> Json:
    """A facet of the chosen app, or of any app; "any" stands for any activity."""
    where = " AND app = ${app:sqlstring}" if of_app else ""
    return variable("facet", "Facet", "Which activity counts: any, or one facet of the plan", fill(_FACETS, where=where))


def fill(text: str, **parts: str) -> str:
    """The text with each {name} replaced; Grafana's ${name} stays as it is."""
    return re.sub(r"(?<!\$)\{(\w+)\}", lambda match: parts.get(match[1], match[0]), text)
