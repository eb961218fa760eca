"""Shell: the jars of the local broker: had once, kept in the user's cache, each verified against the lock at every start.

jgo fetches them; where from is its own configuration (`[repositories]` in jgo.conf), the public Maven registry by default. Once
they lie in the cache, nothing here touches the network.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from deploy.kafka.lock import LockedJar, read_lock
from ingest.contract.errors import ConfigError, UnavailableError

LOCK = Path(__file__).with_name("jars.lock")
INSTEAD = "or set kafka.bootstrap_servers to a broker of yours"
PARALLEL_DOWNLOADS = 8
DOWNLOAD_TIMEOUT_S = 30

Progress = Callable[[str], None]


def cache_folder() -> Path:
    """Where jars are kept for this user: $XDG_CACHE_HOME/footfall/jars, else ~/.cache/footfall/jars."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return root / "footfall" / "jars"


def maven_context(folder: Path) -> Any:
    """jgo's way to the registry, with `folder` as the place that downloads go to."""
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext

    repositories = {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}
    return MavenContext(repo_cache=folder, remote_repos=repositories, local_repos=[], timeout=DOWNLOAD_TIMEOUT_S)


def class_path(progress: Progress, folder: Path | None = None, lock: Path = LOCK) -> list[Path]:
    """The verified jars, in the lock's order; downloads those that are missing.

    Raises ConfigError when a file is not what the lock says, UnavailableError when jars cannot be had or kept.
    """
    jars = read_lock(lock.read_text())
    folder = folder or cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        missing = [jar for jar in jars if not (folder / jar.file_name).exists()]
        if missing:
            _download(missing, folder, progress)
        for jar in jars:
            _verify(folder / jar.file_name, jar, "delete that file and start again")
    except OSError as error:
        raise UnavailableError(
            f"the broker's jars cannot be kept in {folder}: {error.strerror or error}: "
            f"free some space or set XDG_CACHE_HOME, {INSTEAD}"
        ) from error
    return [folder / jar.file_name for jar in jars]


def _verify(path: Path, jar: LockedJar, remedy: str) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != jar.sha256:
        raise ConfigError(
            f"{path} is not the {jar.coordinates} of jars.lock (sha256 {found[:12]}…, expected {jar.sha256[:12]}…): {remedy}"
        )


def _download(missing: list[LockedJar], folder: Path, progress: Progress) -> None:
    """Downloads beside the cache and moves into it what was verified: a broken download never lies where jars are taken from."""
    progress(f"downloading the broker: {len(missing)} jars")
    staging = Path(tempfile.mkdtemp(prefix=".download-", dir=folder))
    pool = ThreadPoolExecutor(PARALLEL_DOWNLOADS)
    try:
        context = maven_context(staging)
        waiting = {pool.submit(_fetch, context, jar): jar for jar in missing}
        for count, done in enumerate(as_completed(waiting), start=1):
            jar = waiting[done]
            try:
                path = done.result()
            except OSError as error:
                # requests' errors are OSErrors too; only those of the disk carry a number.
                if error.errno is not None and error.filename is not None:
                    raise
                raise _not_to_be_had(jar, error) from error
            except Exception as error:
                raise _not_to_be_had(jar, error) from error
            _verify(path, jar, f"the registry (see jgo.conf) gives another file; {INSTEAD}")
            os.replace(path, folder / jar.file_name)
            progress(f"downloading the broker: {count} of {len(missing)} jars")
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        with contextlib.suppress(OSError):
            shutil.rmtree(staging)


def _fetch(context: Any, jar: LockedJar) -> Path:
    return Path(context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve())


def _not_to_be_had(jar: LockedJar, error: Exception) -> UnavailableError:
    return UnavailableError(
        f"the local broker's jars cannot be had ({jar.coordinates}: {type(error).__name__}): check the network, "
        f"name a Maven registry under [repositories] in jgo.conf, {INSTEAD}"
    )
