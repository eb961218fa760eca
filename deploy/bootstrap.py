#!/usr/bin/env python3
"""Shell: sets everything up in a fresh clone, then runs the demo or the tests. Needs Python 3.11 and nothing else.

Standard library only, because it runs before anything is installed; repeatable, and fast when nothing has changed: what
was installed is remembered in .venv/footfall.json by the hash of the lock.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "footfall.json"
PIP_LOG = VENV / "pip.log"
LOCKS = {"run": ROOT / "requirements.lock", "test": ROOT / "requirements-test.lock"}
PYTHON_AT_LEAST = (3, 11)


class Need(NamedTuple):
    """A program that some tests need besides Python packages, and the Debian package that brings it."""

    program: str
    package: str


#: What the tests need besides. The broker and its Java come as Python packages and are not among it.
TEST_NEEDS: tuple[Need, ...] = (
    Need("promtool", "prometheus"),
    Need("prometheus-alertmanager", "prometheus-alertmanager"),
    Need("chromium", "chromium"),
    Need("node", "nodejs"),
    Need("npm", "npm"),
)
#: JavaScript SDKs that tests run against a collector: what is locked there is installed here.
SDKS_LOCKED = ROOT / "tests" / "ingest" / "js"
SDKS = ROOT / "var" / "js"
SDKS_TIMEOUT_S = 300
#: Environment of the tests: why there are none, so that it is not tried again.
NO_SDKS = "FOOTFALL_NO_SDKS"


#: The whole suite: a process for each core, up to four; a file's tests stay together, for they share what is dear to start.
ALL_TESTS = ("--numprocesses=auto", "--maxprocesses=4", "--dist=loadfile", "--no-loadscope-reorder")


class SetupError(Exception):
    """Setting up is not possible; the message is one line that says what to do."""


def say(message: str) -> None:
    """One line of progress."""
    print(f"footfall: {message}", flush=True)


def main(arguments: list[str]) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python3 deploy/bootstrap.py",
        description="Sets up .venv with the locked packages, then runs what you ask for. Run it again at any time.",
        epilog="What follows the command is passed on: `bootstrap.py test tests/ingest -k zone`, `bootstrap.py demo --for 60`.",
    )
    parser.add_argument(
        "command",
        choices=("demo", "test", "setup"),
        help="demo: the whole pipeline with demo traffic; test: ruff, mypy and pytest; setup: only install",
    )
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="passed on to `footfall up` or to pytest")
    options = parser.parse_args(arguments)
    try:
        check_python(sys.version_info[:2])
        install("test" if options.command == "test" else "run")
        if options.command == "test":
            for line in [*provide(TEST_NEEDS), *provide_sdks()]:
                say(line)
            return check_all(options.rest)
        if options.command == "setup":
            say(f"ready: {program('footfall').relative_to(ROOT)} --help")
            return 0
    except SetupError as error:
        print(f"footfall: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nfootfall: stopped; run it again to go on", file=sys.stderr)
        return 130
    os.chdir(ROOT)
    footfall = str(program("footfall"))
    os.execv(footfall, [footfall, "up", "--demo", *options.rest])  # noqa: S606 (our own console script; Ctrl-C goes straight to it)


def check_python(version: tuple[int, ...]) -> None:
    """Raises SetupError for a Python that is too old."""
    if version < PYTHON_AT_LEAST:
        wanted = ".".join(str(part) for part in PYTHON_AT_LEAST)
        raise SetupError(f"Python {wanted} or newer is needed, this is {version[0]}.{version[1]}: run it with python{wanted}")


def program(name: str) -> Path:
    """A program of the virtual environment."""
    folder = VENV / ("Scripts" if os.name == "nt" else "bin")
    return folder / (name + ".exe" if os.name == "nt" else name)


def install(kind: str) -> None:
    """Makes .venv hold the packages of that lock, and the project itself. Does nothing when it does already."""
    wanted = {one: digest(path) for one, path in LOCKS.items()}
    wanted["project"] = digest(ROOT / "pyproject.toml") + str(ROOT)
    have = read_stamp()
    python = program("python")
    if not python.exists() or not (have or has_pip(python)):  # the second: making it was interrupted
        make_venv()
        have = {}
    if have.get(kind) != wanted[kind]:
        have.pop("project", None)
        run_pip(["--require-hashes", "--only-binary", ":all:", "-r", str(LOCKS[kind])], lock_size(LOCKS[kind]))
        have[kind] = wanted[kind]
        if kind == "test":  # it holds everything of the other
            have["run"] = wanted["run"]
    if have.get("project") != wanted["project"]:
        # The build backend is in the lock: nothing is fetched here.
        run_pip(["--no-build-isolation", "--no-index", "--editable", str(ROOT)], 1)
        have["project"] = wanted["project"]
    STAMP.write_text(json.dumps(have))


def has_pip(python: Path) -> bool:
    """Whether that Python has pip."""
    return subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0


def make_venv() -> None:
    """Creates .venv with pip in it."""
    say("creating .venv")
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise SetupError(f"{sys.executable} cannot be started: {error}") from error
    if done.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        text = done.stdout + done.stderr
        if "ensurepip" in text or "No module named venv" in text:
            name = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
            raise SetupError(f"Python's venv module is not complete: install it (Debian: apt-get install {name})")
        raise SetupError(f"cannot create {VENV.name}: {last_line(text)}")


def read_stamp() -> dict[str, str]:
    """What was installed last; empty if that is not known."""
    try:
        found = json.loads(STAMP.read_text())
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise SetupError(f"{path.name} cannot be read ({error.strerror}): is this a whole clone?") from error


def lock_size(path: Path) -> int:
    """How many packages a lock names."""
    return sum("==" in line for line in path.read_text().splitlines())


def run_pip(arguments: list[str], packages: int) -> None:
    """pip install, with one line of progress instead of pip's own talk; all of that goes to .venv/pip.log."""
    command = [str(program("python")), "-m", "pip", "install", "--no-deps", "--no-input", "--progress-bar", "off"]
    command += ["--disable-pip-version-check", "--retries", "2", *arguments]
    progress = Progress(packages)
    with PIP_LOG.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace", cwd=ROOT
        )
        try:
            for line in process.stdout or ():
                log.write(line)
                progress.take(line)
        finally:
            if process.poll() is None:
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
    progress.end()
    if process.returncode:
        raise SetupError(reason(PIP_LOG.read_text(encoding="utf-8")) + f" (more in {PIP_LOG.relative_to(ROOT)})")


class Progress:
    """Shows which package pip is at: one line that changes on a terminal, a line now and then elsewhere."""

    def __init__(self, packages: int) -> None:
        self.packages = packages
        self.done = 0
        self.live = sys.stdout.isatty()
        self.said_at = 0.0

    def take(self, line: str) -> None:
        """One line of pip's output."""
        if line.startswith("Collecting "):
            self.done += 1
            self.show(f"package {min(self.done, self.packages)} of {self.packages}: {line.split()[1].split('==')[0]}")
        elif match := re.match(r"\s+Downloading (\S+?)-\d\S* \(([\d.]+ [MG]B)\)", line):
            self.show(f"downloading {match[1].rsplit('/', 1)[-1]}, {match[2]}")
        elif line.startswith("Installing collected packages"):
            self.show("unpacking the packages" if self.packages > 1 else "installing footfall itself", always=True)

    def show(self, message: str, always: bool = False) -> None:
        """Prints it in place, or as a line if the last one is some seconds old."""
        if self.live:
            print(f"\r\033[Kfootfall: {message}", end="", flush=True)
        elif always or time.monotonic() - self.said_at > 5:
            self.said_at = time.monotonic()
            say(message)

    def end(self) -> None:
        """Leaves the line empty."""
        if self.live:
            print("\r\033[K", end="", flush=True)


#: What pip says, and what to do about it.
REASONS = (
    ("DO NOT MATCH THE HASHES", "a downloaded package does not match its hash in the lock: do not use this package index"),
    ("No space left on device", "the disk is full: free 2 GB and run it again"),
    ("Permission denied", "a file in .venv may not be written: remove .venv, or run as the user who made it"),
    ("CERTIFICATE_VERIFY_FAILED", "the package index has a certificate that is not trusted here: set PIP_CERT"),
    ("Temporary failure in name resolution", "no network: the packages cannot be fetched; run it again when there is one"),
    (
        "Failed to establish a new connection",
        "the package index cannot be reached: check network, proxy (HTTPS_PROXY) and PIP_INDEX_URL",
    ),
    ("Read timed out", "the package index is too slow to answer: run it again"),
    ("No matching distribution found", "a locked package is not to be had for this Python and machine"),
)


def reason(log: str) -> str:
    """One line that says why pip failed."""
    for sign, meaning in REASONS:
        if sign in log:
            return meaning
    return f"pip failed: {last_line(log)}"


def last_line(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def provide(needs: tuple[Need, ...]) -> list[str]:
    """Installs the programs that are missing where that is possible (root, apt-get); returns what there is to say."""
    missing = [need for need in needs if shutil.which(need.program) is None]
    if not missing:
        return []
    packages = [need.package for need in missing]
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    if shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        say(f"installing {', '.join(packages)} for the tests")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(command, capture_output=True, env=environment, check=False)
        if done.returncode:  # the package lists may be missing or stale
            subprocess.run(["apt-get", "update", "-qq"], capture_output=True, env=environment, check=False)
            done = subprocess.run(command, capture_output=True, env=environment, check=False)
        missing = [need for need in missing if shutil.which(need.program) is None]
    return [
        f"{need.program} is not installed: the tests that need it are skipped (Debian: sudo apt-get install {need.package})"
        for need in missing
    ]


def provide_sdks() -> list[str]:
    """Installs the JavaScript SDKs that some tests run, by their lock, if npm is there; returns what there is to say."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return []
    wanted = digest(SDKS_LOCKED / "package-lock.json")
    stamp = SDKS / "footfall.sha256"
    if stamp.exists() and stamp.read_text() == wanted:
        return []
    say("installing the JavaScript SDKs for the tests")
    SDKS.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(SDKS_LOCKED / name, SDKS / name)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=60000"]
    try:
        done = subprocess.run(command, cwd=SDKS, capture_output=True, text=True, timeout=SDKS_TIMEOUT_S, check=False)
        why = last_line(done.stderr) if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        why = type(error).__name__
    if why:
        os.environ[NO_SDKS] = f"the JavaScript SDKs cannot be installed: {why}"
        return [f"{os.environ[NO_SDKS]}; their tests are skipped"]
    stamp.write_text(wanted)
    return []


def check_all(rest: list[str]) -> int:
    """ruff, mypy, pytest, all of them also when one fails; returns 0 or 1."""
    python = str(program("python"))
    steps = {
        "ruff check": [str(program("ruff")), "check", "--quiet"],
        "ruff format": [str(program("ruff")), "format", "--check", "--quiet"],
        "mypy": [python, "-m", "mypy"],
        "pytest": [python, "-m", "pytest", *(rest or ALL_TESTS)],
    }
    failed = []
    for name, command in steps.items():
        say(name)
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            failed.append(name)
    say(f"FAILED: {', '.join(failed)}" if failed else "all checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
