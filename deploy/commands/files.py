"""Shell: `footfall files`: takes out of the installed package what Grafana and Prometheus read."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from ingest.contract.errors import ConfigError

#: Folder or file in the package -> where it goes.
_PARTS = {"grafana/dashboards": "grafana/dashboards", "grafana/provisioning": "grafana/provisioning", "prometheus": "prometheus"}
_PLAN = "demo.toml"
_KINDS = (".json", ".yml")


@click.command(short_help="Write dashboards, alert rules and an example plan to a folder.")
@click.option(
    "--to", "folder", required=True, type=click.Path(path_type=Path, file_okay=False), help="The folder; made if needed."
)
def command(folder: Path) -> None:
    """Writes Grafana's dashboards and provisioning, the rules and example configurations of Prometheus and Alertmanager, and the
    demo's plan. Files of the same name are written anew: keep your own changes in files of your own.
    """
    root = files("deploy")
    written = 0
    try:
        for source, target in _PARTS.items():
            written += _copy(root.joinpath(source), folder / target)
        (folder / _PLAN).write_bytes(root.joinpath(_PLAN).read_bytes())
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be written ({error.strerror}): name another folder with --to") from error
    click.echo(f"{written + 1} files in {folder}: grafana, prometheus, {_PLAN}")


def _copy(source: Traversable, target: Path) -> int:
    target.mkdir(parents=True, exist_ok=True)
    written = 0
    for one in sorted(source.iterdir(), key=lambda found: found.name):
        if one.is_dir() and one.name != "__pycache__":
            written += _copy(one, target / one.name)
        elif one.name.endswith(_KINDS):
            (target / one.name).write_bytes(one.read_bytes())
            written += 1
    return written
