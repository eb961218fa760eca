"""Shell: writes the dashboards: `python -m deploy.grafana [folder]`, by default where they are committed."""

from __future__ import annotations

import sys
from pathlib import Path

from deploy.grafana.build import files


def main() -> None:
    """Writes a file for each dashboard."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "dashboards"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")
        print(folder / name)


if __name__ == "__main__":
    main()
