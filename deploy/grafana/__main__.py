"""Shell: writes the dashboards: `python -m deploy.grafana [--plan FILE] [folder]`, by default where they are committed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deploy.entry import Source, load_settings
from deploy.grafana.build import files
from ingest.contract.errors import ConfigError


def main() -> None:
    """Writes a file for each dashboard."""
    parser = argparse.ArgumentParser(prog="python -m deploy.grafana", description="Writes Grafana's dashboards.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "dashboards")
    parser.add_argument("--plan", type=Path, help="axes and the time range's days go by this plan's time zone, not the browser's")
    asked = parser.parse_args()
    zone = "browser"
    if asked.plan:
        try:
            zone = load_settings(Source(asked.plan, chosen=True)).project.time_zone
        except ConfigError as error:
            sys.exit(str(error))
    asked.folder.mkdir(parents=True, exist_ok=True)
    for name, text in files(zone).items():
        (asked.folder / name).write_text(text, encoding="utf-8")
        print(asked.folder / name)


if __name__ == "__main__":
    main()
