"""Shell: the command line `footfall`: one group, its commands loaded when they are asked for.

`footfall worker` must start where neither chDB nor rich is installed, so no command's module is imported before its turn.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import click

from deploy.entry import DEFAULT_FILE, Source, entry, log_to_stderr
from ingest.contract.errors import ConfigError, FootfallError, LayoutError


class Lazy(NamedTuple):
    """Where a command lies, and its line in the list of commands."""

    target: str
    help: str


COMMANDS = {
    "up": Lazy("deploy.commands.up:command", "Start everything on this machine and show live numbers."),
    "send": Lazy("deploy.commands.send:command", "Send one event by hand."),
    "status": Lazy("deploy.commands.status:command", "Show brokers, topics, lag, last event, last checkpoint, processes."),
    "verify": Lazy("deploy.commands.verify:command", "Recompute the numbers from the raw events and compare."),
    "simulate": Lazy("deploy.commands.simulate:command", "Send bank-like traffic with a known truth."),
    "collector": Lazy("deploy.commands.stages:collector", "Run the HTTP collector."),
    "worker": Lazy("deploy.commands.stages:worker", "Run a stream worker."),
    "sinks": Lazy("deploy.commands.stages:sinks", "Run the sinks: ClickHouse writers, Prometheus exporter."),
    "forget": Lazy("deploy.commands.forget:command", "Remove a person from records, numbers and ClickHouse, and prove it."),
    "replay": Lazy("deploy.commands.replay:command", "Rebuild all numbers from the raw events, under a new layout."),
    "plan": Lazy("deploy.commands.plan:command", "Check the tracking plan, or propose one from traffic."),
    "rejected": Lazy("deploy.commands.rejected:command", "List, explain and resubmit what could not be accepted."),
    "topics": Lazy("deploy.commands.topics:command", "Check the Kafka topics, or create them."),
    "migrate": Lazy("deploy.commands.migrate:command", "Bring the ClickHouse schema up to date."),
    "backfill-baseline": Lazy(
        "deploy.commands.backfill_baseline:command", "Give the alert rules their baseline from ClickHouse."
    ),
    "files": Lazy("deploy.commands.files:command", "Write dashboards, alert rules and an example plan to a folder."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = entry(COMMANDS[cmd_name].target)
        assert isinstance(command, click.Command)  # noqa: S101 (for the type; the table above is tested)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in COMMANDS.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"no command {args[0]!r}; there are {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)


def _version() -> str:
    try:
        return version("footfall")
    except PackageNotFoundError:
        return "not installed"


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  footfall up --demo                         everything on this machine, with demo traffic
  footfall send --key demo-harbor-key --event login --user 42
  footfall --config bank.toml worker         one worker more, on any machine
  footfall status
""",
)
@click.option(
    "--config",
    "-c",
    envvar="FOOTFALL_CONFIG",
    type=click.Path(path_type=Path),
    help=f"The plan and settings; FOOTFALL_CONFIG if not given, else {DEFAULT_FILE} in this folder.",
)
@click.option(
    "--log-level",
    envvar="FOOTFALL_LOG",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Of the stages' logs on stderr.",
)
@click.version_option(_version(), prog_name="footfall")
@click.pass_context
def cli(ctx: click.Context, config: Path | None, log_level: str) -> None:
    """Footfall: a self-hosted tracker of user behaviour for apps.

    Events go from a collector through Kafka to Faust workers, their numbers to ClickHouse and Prometheus. `up` starts all of
    that on one machine; the other commands start its parts one by one, on as many machines as you like.
    """
    log_to_stderr(log_level)
    ctx.obj = Source(config, True) if config else Source(Path(DEFAULT_FILE), False)


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script. Ends the process: 0; 1: something is away or differs; 2: something to mend; 130: Ctrl-C."""
    try:
        code = cli.main(args=arguments, prog_name="footfall", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except FootfallError as error:
        print(f"footfall: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ConfigError | LayoutError) else 1)
    except BrokenPipeError:  # `footfall status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" at {error.filename}" if error.filename else ""
        print(f"footfall: the disk is full{where}: free some space and start again", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
