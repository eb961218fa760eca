"""All dashboards, as the texts of the JSON files under dashboards/."""

from __future__ import annotations

import json

from deploy.grafana import apps, funnels, overview, peaks, pipeline, quality, retention
from deploy.grafana.model import Dashboard, encode


def dashboards() -> list[Dashboard]:
    """The dashboards, in the order of their links."""
    pages = (overview, peaks, funnels, retention, apps, quality, pipeline)
    return [page.dashboard() for page in pages]


def files(time_zone: str = "browser") -> dict[str, str]:
    """File name -> content, the same each time. time_zone: that of the axes and of "today", "browser" or an IANA one."""
    found = dashboards()
    titles = {one.uid: one.title.removeprefix("Footfall: ").capitalize() for one in found}
    return {
        f"{one.uid.removeprefix('footfall-')}.json": json.dumps(encode(one, titles, time_zone), ensure_ascii=False, indent=1)
        + "\n"
        for one in found
    }
