"""What the code must look like as a whole: who imports whom, where I/O may happen, how big a file may be."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
STAGES = ("ingest", "streams", "sinks", "deploy")
SHELL = "Shell:"
MAX_LINES = 450

#: Which packages of other stages a stage may import. Data never flows back.
MAY_IMPORT = {
    "ingest": (),
    "streams": ("ingest.contract",),
    "sinks": ("ingest.contract", "streams.contract"),
    "deploy": ("ingest.contract", "streams.contract", "sinks.contract"),
}

#: Modules that do I/O, have a clock, or know the environment: not for rules.
IMPURE_IMPORTS = (
    *("os", "sys", "time", "socket", "subprocess", "threading", "multiprocessing", "asyncio", "signal", "select", "fcntl"),
    *("shutil", "tempfile", "glob", "sqlite3", "ssl", "selectors", "concurrent", "logging.handlers", "logging.config"),
    *("urllib.request", "http", "requests", "aiohttp", "kafka", "aiokafka", "faust", "mode", "clickhouse_connect", "chdb"),
    *("importlib.resources", "importlib.metadata", "secrets", "psutil"),
)
#: Kafka's own hash, a pure function.
PURE_IMPORTS = ("kafka.partitioner", "kafka.partitioner.default")
PURE_PATHS = {"PurePath", "PurePosixPath", "PureWindowsPath"}
#: Calls that read the clock or do I/O without an import that gives them away.
IMPURE_NAMES = {"open", "print", "input", "breakpoint", "__import__", "uuid1", "uuid4"}
CLOCK_METHODS = {"now", "utcnow", "today"}
CLOCK_OWNERS = {"datetime", "date"}

HOSTS = re.compile(
    r"pypi\.org|pythonhosted\.org|repo1?\.maven|maven\.(?:apache|google|aliyun)|registry\.npmjs|docker\.io|ghcr\.io|quay\.io|mirrors?\.\w+\.\w+",
    re.IGNORECASE,
)
MACHINE_PATHS = re.compile(r"(?<![\w.:/~$}{-])/(?:root|home|Users|work|mnt|opt|srv)/[\w.]")


class Module(NamedTuple):
    """A Python module of the project."""

    name: str
    path: Path
    tree: ast.Module
    shell: bool


class Import(NamedTuple):
    """One import: the module, and the names taken from it."""

    module: str
    names: tuple[str, ...]
    line: int


@cache
def modules() -> list[Module]:
    found = []
    for stage in STAGES:
        for path in sorted((ROOT / stage).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
            found.append(Module(name, path, tree, (ast.get_docstring(tree) or "").startswith(SHELL)))
    return found


def typing_only(module: Module) -> set[ast.AST]:
    """What stands under `if TYPE_CHECKING`: it is never run."""
    return {
        inner
        for node in ast.walk(module.tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }


def imports(module: Module, run: bool = False) -> Iterator[Import]:
    """All imports; with `run`, those that load something when the module is loaded or used."""
    package = module.name.split(".") if module.path.name == "__init__.py" else module.name.split(".")[:-1]
    never = typing_only(module) if run else set()
    for node in ast.walk(module.tree):
        if node in never:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, (), node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield Import(name, tuple(alias.name for alias in node.names), node.lineno)


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def targets(one: Import) -> list[str]:
    """The modules that an import may load: `from a import b` may mean the module a.b."""
    return [one.module, *(f"{one.module}.{name}" for name in one.names)]


def where(module: Module, line: int) -> str:
    return f"{module.path.relative_to(ROOT)}:{line}"


def test_a_stage_imports_only_contracts_of_the_stages_before_it() -> None:
    wrong = []
    for module in modules():
        stage = module.name.partition(".")[0]
        for one in imports(module):
            first = one.module.partition(".")[0]
            if first in ("tests", "shared"):
                wrong.append(f"{where(module, one.line)} imports {one.module}")
            elif first in STAGES and first != stage:
                reached = [one.module] if within(one.module, MAY_IMPORT[stage]) else targets(one)[1:] or [one.module]
                wrong += [f"{where(module, one.line)} imports {name}" for name in reached if not within(name, MAY_IMPORT[stage])]
    assert not wrong, "\n".join(wrong)


def test_contracts_are_pure_and_stand_alone() -> None:
    """What others may import must not bring the stage's own machinery along."""
    wrong = []
    for module in modules():
        stage, _, rest = module.name.partition(".")
        if rest.partition(".")[0] != "contract":
            continue
        if module.shell:
            wrong.append(f"{module.path.relative_to(ROOT)} is a shell")
        wrong += [
            f"{where(module, one.line)} imports {one.module}"
            for one in imports(module)
            if one.module.partition(".")[0] == stage and not within(one.module, (f"{stage}.contract",))
        ]
    assert not wrong, "\n".join(wrong)


def impurities(module: Module, shells: frozenset[str]) -> Iterator[str]:
    for one in imports(module, run=True):
        if within(one.module, IMPURE_IMPORTS) and not within(one.module, PURE_IMPORTS):
            yield f"{where(module, one.line)} imports {one.module}"
        for name in targets(one):
            if name in shells:
                yield f"{where(module, one.line)} imports the shell {name}"
            elif name != one.module and within(name, IMPURE_IMPORTS) and not within(one.module, (*IMPURE_IMPORTS, *PURE_IMPORTS)):
                yield f"{where(module, one.line)} imports {name}"
        if one.module == "pathlib" and (not one.names or not set(one.names) <= PURE_PATHS):
            yield f"{where(module, one.line)} imports pathlib's I/O"
        if one.module == "random" and one.names and set(one.names) != {"Random"}:
            yield f"{where(module, one.line)} imports random's shared generator"
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Name) and called.id in IMPURE_NAMES:
            yield f"{where(module, node.lineno)} calls {called.id}()"
        if isinstance(called, ast.Name) and called.id == "Random" and not node.args:
            yield f"{where(module, node.lineno)} makes an unseeded generator"
        if isinstance(called, ast.Attribute) and called.attr in ("uuid1", "uuid4"):
            yield f"{where(module, node.lineno)} calls {called.attr}()"
        if isinstance(called, ast.Attribute):
            owner = called.value
            owner_name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
            if called.attr in CLOCK_METHODS and owner_name in CLOCK_OWNERS:
                yield f"{where(module, node.lineno)} reads the clock: {owner_name}.{called.attr}()"
            if owner_name == "random" and (called.attr != "Random" or not node.args):
                yield f"{where(module, node.lineno)} calls random.{called.attr}() without a seed"


def test_rules_have_no_clock_no_environment_and_no_io() -> None:
    shells = frozenset(module.name for module in modules() if module.shell)
    wrong = [line for module in modules() if not module.shell for line in impurities(module, shells)]
    assert not wrong, "rules with I/O in them (or a shell whose docstring does not start with 'Shell:'):\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("import time", "imports time"),
        ("from os import environ", "imports os"),
        ("from urllib import request", "imports urllib.request"),
        ("from kafka import KafkaConsumer", "imports kafka"),
        ("from pathlib import Path", "pathlib"),
        ("from datetime import datetime, UTC\nx = datetime.now(UTC)", "reads the clock"),
        ("import datetime\nx = datetime.date.today()", "reads the clock"),
        ("x = open('f')", "calls open()"),
        ("import uuid\nx = uuid.uuid4()", "calls uuid4()"),
        ("import random\nx = random.random()", "without a seed"),
        ("from random import Random\nx = Random()", "unseeded"),
        ("from streams import loop", "imports the shell streams.loop"),
        ("def f():\n    import socket", "imports socket"),
    ],
)
def test_the_check_of_rules_finds(text: str, sign: str) -> None:
    module = Module("streams.probe", ROOT / "streams" / "probe.py", ast.parse(text), False)
    assert any(sign in line for line in impurities(module, frozenset({"streams.loop"})))


@pytest.mark.parametrize(
    "text",
    [
        "from kafka.partitioner.default import murmur2",
        "from pathlib import PurePosixPath",
        "import random\nx = random.Random(7)",
        "from datetime import UTC, datetime\nx = datetime.fromtimestamp(0, UTC)",
        "from urllib.parse import quote",
    ],
)
def test_the_check_of_rules_lets_pass(text: str) -> None:
    module = Module("streams.probe", ROOT / "streams" / "probe.py", ast.parse(text), False)
    assert not list(impurities(module, frozenset()))


def test_every_module_says_what_it_is_for() -> None:
    wrong = [
        str(module.path.relative_to(ROOT)) for module in modules() if module.tree.body and not ast.get_docstring(module.tree)
    ]
    assert not wrong


@cache
def tracked_files() -> list[Path]:
    """Files under version control; without git (an unpacked archive) the source files."""
    if shutil.which("git") and (ROOT / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
            "\0"
        )
        return [ROOT / name for name in listed if name and (ROOT / name).is_file()]
    folders = [ROOT / stage for stage in (*STAGES, "tests")]
    return [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".sql", ".toml", ".lock", ".yml")]


def tracked_texts() -> Iterator[tuple[Path, str]]:
    for path in tracked_files():
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def test_no_file_is_too_long_to_own_one_thing() -> None:
    free = {".lock", ".json", ".jsonl", ".csv", ".tsv"}
    wrong = [
        f"{path.relative_to(ROOT)}: {lines} lines"
        for path, text in tracked_texts()
        if path.suffix not in free and path.name != "LICENSE" and (lines := text.count("\n")) > MAX_LINES
    ]
    assert not wrong, "\n".join(wrong)


def test_no_registry_host_and_no_machine_path_is_in_any_file() -> None:
    wrong = []
    for path, text in tracked_texts():
        if path == Path(__file__):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if found := HOSTS.search(line) or MACHINE_PATHS.search(line):
                wrong.append(f"{path.relative_to(ROOT)}:{number} has {found[0]!r}")
    assert not wrong, "\n".join(wrong)


def read_lock(name: str) -> dict[str, tuple[str, int]]:
    """Version and number of hashes of each package in a lock."""
    found: dict[str, tuple[str, int]] = {}
    package = ""
    for line in (ROOT / name).read_text().splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)==(\S+)(?: ; [^\\]+)? \\$", line):
            package = canonicalize_name(match[1])
            found[package] = (match[2], 0)
        elif re.match(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?$", line):
            version, hashes = found[package]
            found[package] = (version, hashes + 1)
        else:
            pytest.fail(f"{name} has a line that is neither a pinned package nor a hash: {line}")
    return found


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-test.lock"])
def test_locks_have_hashes_and_no_addresses(name: str) -> None:
    packages = read_lock(name)
    assert packages
    assert all(hashes for _, hashes in packages.values())
    assert "://" not in (ROOT / name).read_text()
    # chDB declares them and does not need them; they weigh 260 MB.
    assert not packages.keys() & {"pandas", "pyarrow", "numpy"}


def test_the_tests_lock_has_all_of_the_other_at_the_same_versions() -> None:
    run, test = read_lock("requirements.lock"), read_lock("requirements-test.lock")
    assert {name: test.get(name) for name in run} == run


def test_the_javascript_lock_has_exact_versions_hashes_and_no_addresses() -> None:
    folder = ROOT / "tests" / "ingest" / "js"
    text = (folder / "package-lock.json").read_text()
    assert "://" not in text
    assert '"resolved"' not in text
    packages = json.loads(text)["packages"]
    assert all("integrity" in package for name, package in packages.items() if name)
    asked = json.loads((folder / "package.json").read_text())["dependencies"]
    assert asked == {name: packages[f"node_modules/{name}"]["version"] for name in asked}, "exact versions, as locked"


def test_locks_are_what_pyproject_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *(one for name, extra in extras.items() if name != "all" for one in extra)]
    groups = project["dependency-groups"]
    for lock, asked in (
        ("requirements.lock", [*wanted, *groups["build"]]),
        ("requirements-test.lock", [*wanted, *groups["build"], *groups["test"]]),
    ):
        packages = read_lock(lock)
        for text in asked:
            requirement = Requirement(text)
            version, _ = packages.get(canonicalize_name(requirement.name), ("none", 0))
            assert version != "none", f"{requirement.name} is not in {lock}: make the locks anew (README, Contributing)"
            assert requirement.specifier.contains(version), f"{text} in pyproject.toml, {version} in {lock}"
