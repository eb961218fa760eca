"""The wheel: what is installed from it runs without the clone that it was built in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("ingest", "streams", "sinks", "deploy")
#: Files that are no Python and that something reads at run time, or that operators take out of the package.
DATA = {
    *("sinks/clickhouse/migrations/views.sql", "deploy/demo.toml", "deploy/kafka/jars.lock", "deploy/guard.py"),
    *("deploy/grafana/provisioning/datasources/footfall.yml", "deploy/grafana/provisioning/dashboards/footfall.yml"),
    *(f"{package}/py.typed" for package in PACKAGES),
}
FOLDERS = {
    "deploy/grafana/dashboards": ".json",
    "deploy/prometheus": ".yml",
    "sinks/clickhouse/migrations": ".sql",
    "sinks/console/static": "",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheel was unpacked. It is built from a copy: building leaves folders behind."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "copy"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    code = f"from setuptools import build_meta; build_meta.build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=copy, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("footfall-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def footfall(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line of the unpacked wheel, in a folder with nothing of the clone in it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FOOTFALL")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "deploy.cli", *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_file_that_is_no_python_is_in_it(site: Path) -> None:
    missing = {name for name in DATA if not (site / name).is_file()}
    for folder, suffix in FOLDERS.items():
        here = [path for path in (ROOT / folder).rglob("*") if path.is_file() and path.name.endswith(suffix)]
        assert here
        missing |= {str(path.relative_to(ROOT)) for path in here if not (site / path.relative_to(ROOT)).is_file()}
    assert {name for name in missing if "__pycache__" not in name} == set()


def test_tests_and_what_is_made_while_running_are_not_in_it(site: Path) -> None:
    top = {path.name for path in site.iterdir() if not path.name.endswith(".dist-info")}
    assert top == set(PACKAGES)


def test_its_command_line_runs_and_brings_a_schema_up_to_date(site: Path, tmp_path: Path) -> None:
    assert "backfill-baseline" in footfall(site, tmp_path, "--help").stdout
    taken_out = footfall(site, tmp_path, "files", "--to", "etc")
    assert taken_out.returncode == 0, taken_out.stderr
    (tmp_path / "footfall.toml").write_text((tmp_path / "etc" / "demo.toml").read_text())
    migrated = footfall(site, tmp_path, "migrate")
    assert migrated.returncode == 0, migrated.stderr
    assert "0001 tables" in migrated.stderr
    assert (tmp_path / "var" / "clickhouse").is_dir()


def test_what_is_taken_out_is_what_the_clone_has(site: Path, tmp_path: Path) -> None:
    footfall(site, tmp_path, "files", "--to", "etc")
    for folder in ("grafana/dashboards", "grafana/provisioning", "prometheus"):
        here = {path for path in (ROOT / "deploy" / folder).rglob("*") if path.suffix in (".json", ".yml")}
        out = {path for path in (tmp_path / "etc" / folder).rglob("*") if path.is_file()}
        assert {path.relative_to(ROOT / "deploy") for path in here} == {path.relative_to(tmp_path / "etc") for path in out}
        assert all((tmp_path / "etc" / path.relative_to(ROOT / "deploy")).read_bytes() == path.read_bytes() for path in here)
    refused = footfall(site, tmp_path, "files", "--to", "/proc/nowhere")
    assert refused.returncode == 2
    assert "--to" in refused.stderr
