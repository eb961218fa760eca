"""Shell: `footfall up`: everything on this machine, in one go."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from deploy.entry import entry, with_bootstrap
from deploy.kafka.runfile import is_alive, read_run_file
from deploy.up.parts import Part, doors, simulator_part, stage_parts, twice, where_to_look
from deploy.up.ports import check_free
from deploy.up.screen import Screen
from deploy.up.supervisor import Process, Supervisor
from ingest.contract.errors import ConfigError, UnavailableError
from ingest.contract.privacy import KEY_VARIABLE
from ingest.contract.settings import Settings

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Stop(KeyboardInterrupt):
    """Somebody asked for the end: Ctrl-C, SIGTERM, or the terminal was closed."""


def run(settings: Settings, config: Path, *, demo: bool, rate: float, seconds: float | None, once: bool) -> None:
    """Starts all, shows live numbers until asked to stop, stops all. Raises a FootfallError when it cannot go on.

    config    the file that the settings are from: the children read it again
    seconds   stop by itself after that time; once: as soon as there are numbers
    """
    check(settings)
    data_dir = Path(settings.data_dir).resolve()
    log_dir = data_dir / "log"
    try:
        log_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"data_dir {settings.data_dir} cannot be written: {error.strerror}") from error
    screen = Screen()
    supervisor = Supervisor(screen.say)
    with _signals():
        try:
            _start(settings, config, log_dir, supervisor, screen, demo=demo, rate=rate)
            screen.announce(where_to_look(settings, _first_key(settings) if demo else "WRITE_KEY", str(log_dir)))
            screen.show(settings, supervisor.watch, seconds=seconds, once=once)
        except _Stop:
            pass
        finally:
            screen.say("stopping")
            supervisor.stop()
    screen.say("stopped; all data is kept, run it again to go on")


def check(settings: Settings) -> None:
    """Raises before anything is started, when it could not work: no apps, a port taken, already running."""
    if not settings.apps:
        raise ConfigError("the plan has no [[apps]]: add one with an id and write_keys, as in deploy/demo.toml")
    running = read_run_file(Path(settings.data_dir).resolve())
    if running is not None and is_alive(running.owner) and running.owner != os.getpid():
        raise UnavailableError(
            f"`footfall up` is running on {settings.data_dir} already (process {running.owner}): stop that first"
        )
    if message := twice(doors(settings)):
        raise ConfigError(message)
    check_free(doors(settings))


def _first_key(settings: Settings) -> str:
    return next((key for app in settings.apps for key in app.write_keys), "WRITE_KEY")


def _start(
    settings: Settings, config: Path, log_dir: Path, supervisor: Supervisor, screen: Screen, *, demo: bool, rate: float
) -> None:
    ours = str(Path(__file__).parents[2])
    path = os.pathsep.join([ours, *filter(None, [os.environ.get("PYTHONPATH")])])
    secret = os.environ.pop(KEY_VARIABLE, "")  # the collector's, and nobody else's
    environment = {**os.environ, "FOOTFALL_CONFIG": str(config.resolve()), "PYTHONUNBUFFERED": "1", "PYTHONPATH": path}
    # -P: a folder `deploy` where the user happens to be is not ours.
    footfall = [sys.executable, "-P", "-m", "deploy.cli"]

    def process(part: Part) -> Process:
        own = {KEY_VARIABLE: secret} if secret and part.name == "collector" else {}
        return Process(part, footfall, environment | own, log_dir)

    if not settings.kafka.servers():
        from deploy.up.broker import Broker  # Java and its jars: only where a broker of our own is wanted

        broker = Broker(Path(settings.data_dir), screen.say)
        supervisor.begin(broker)
        settings = with_bootstrap(settings, broker.bootstrap)
        screen.say(f"broker is ready at {broker.bootstrap}")
    entry("deploy.kafka.topics:require_crc32c")()
    entry("deploy.kafka.topics:create_topics")(settings)
    entry("deploy.kafka.topics:check_topics")(settings)
    _migrate(process(Part("migrate", ("migrate",), "")), screen)
    stages = [process(part) for part in stage_parts(settings)]
    screen.say("starting " + ", ".join(stage.name for stage in stages))
    for stage in stages:
        supervisor.begin(stage)
    supervisor.wait_ready(stages)
    if demo:
        supervisor.begin(process(simulator_part(rate, _first_time(Path(settings.data_dir)))))


def _first_time(data_dir: Path) -> bool:
    """Whether no demo has run on this data yet. The past is made up once only: sent again, it would be late."""
    marker = data_dir / "run" / "demo"
    if marker.exists():
        return False
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()
    return True


def _migrate(process: Process, screen: Screen) -> None:
    """In a process of its own: the embedded engine belongs to one process, and that is the sinks' afterwards."""
    screen.say("bringing the ClickHouse schema up to date")
    process.begin()
    try:
        while (end := process.ended()) is None:
            time.sleep(0.05)
    finally:
        process.stop()
    code, words = end
    if code:
        raise (ConfigError if code == 2 else UnavailableError)(f"migrate: {words}")


@contextmanager
def _signals() -> Iterator[None]:
    """Turns the signals that ask for the end into an exception, and puts the handlers back."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _Stop

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
