"""The state of a pipeline as text, and whether all is well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names


class TopicState(NamedTuple):
    """A topic: partition count (0: it does not exist), records ever written, when the newest one was (ms; 0: never)."""

    name: str
    partitions: int
    written: int
    newest: int


class GroupState(NamedTuple):
    """A consumer group on a topic. `lag` is None when it never committed."""

    group: str
    topic: str
    members: int
    lag: int | None


class ProcessState(NamedTuple):
    """A process on this machine: "ready", "not ready", or "not running"; `waiting`: what of its spool waits for Kafka."""

    name: str
    address: str
    state: str
    waiting: str = ""


class Status(NamedTuple):
    """All of it. `fault` is what is wrong with the topics, "" if nothing is."""

    brokers: tuple[str, ...]
    topics: tuple[TopicState, ...]
    groups: tuple[GroupState, ...]
    processes: tuple[ProcessState, ...]
    fault: str
    now: int

    @property
    def ok(self) -> bool:
        """Whether topics are right and every process of this machine that runs is ready."""
        return not self.fault and not any(process.state == "not ready" for process in self.processes)


def groups_of(settings: Settings) -> list[tuple[str, str]]:
    """The consumer groups of a pipeline, each with the topic that it reads."""
    names, layout = topic_names(settings), settings.project.layout
    prefix = settings.kafka.topic_prefix
    return [
        (names.worker_app, names.events),
        (names.worker_app, names.merges),
        (f"{prefix}-sink-events-{layout}", names.events),
        (f"{prefix}-sink-metrics-{layout}", names.metrics),
        (f"{prefix}-sink-rejected-{layout}", names.rejected),
        (f"{prefix}-sink-merges-{layout}", names.merges),
    ]


def lag(ends: dict[int, int], committed: dict[int, int], starts: dict[int, int]) -> int | None:
    """Records that a group has not read, from end, committed and first offsets per partition; None when it never committed."""
    if not committed:
        return None
    return sum(max(0, end - max(committed.get(partition, 0), starts.get(partition, 0))) for partition, end in ends.items())


def ago(now: int, then: int) -> str:
    """How long ago an instant was (both ms): "3 s ago"; "never" for 0."""
    if not then:
        return "never"
    seconds = max(0, (now - then) // 1000)
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def text(status: Status, settings: Settings) -> str:
    """The lines that `footfall status` prints."""
    names = topic_names(settings)
    newest = {topic.name: topic.newest for topic in status.topics}
    lines = [f"brokers          {', '.join(status.brokers)}"]
    lines += _table(
        ("topic", "partitions", "records", "newest"),
        [
            (topic.name, str(topic.partitions), f"{topic.written:,}", ago(status.now, topic.newest))
            if topic.partitions
            else (topic.name, "missing", "-", "-")
            for topic in status.topics
        ],
    )
    lines += _table(
        ("group", "members", "lag", "of topic"),
        [
            (one.group, str(one.members), "never committed" if one.lag is None else f"{one.lag:,}", one.topic)
            for one in status.groups
        ],
    )
    lines += process_lines(status.processes)
    lines += [
        "",
        f"last event       {ago(status.now, newest.get(names.events, 0))}",
        f"last checkpoint  {ago(status.now, newest.get(names.changelog, 0))}",
    ]
    if status.fault:
        lines += ["", f"WRONG: {status.fault}"]
    return "\n".join(lines)


def process_lines(processes: Sequence[ProcessState]) -> list[str]:
    """The processes as a table, after an empty line."""
    return _table(
        ("process", "state", "address", "spool"), [(one.name, one.state, one.address, one.waiting) for one in processes]
    )


def spool_words(metrics: str) -> str:
    """What waits in a collector's spool, by its metrics page; "" for a process that has none."""
    found = {}
    for line in metrics.splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith("footfall_collector_spool_"):
            found[name.removeprefix("footfall_collector_spool_")] = value
    frames, size, limit = (float(found.get(name, 0)) for name in ("frames", "bytes", "limit_bytes"))
    if not limit:
        return ""
    return f"{frames:,.0f} waiting, {size / limit:.1%} full" if frames else "empty"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width under a heading, after an empty line."""
    table = [heading, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(heading))]
    return ["", *("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table)]
