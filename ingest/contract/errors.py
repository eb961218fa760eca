"""Every error that Footfall raises on purpose, and whether trying again can help.

FootfallError
├── ConfigError          the plan or a setting is wrong: mend it, then start again
├── LayoutError          a topic is not what the plan says (partition count, cleanup policy)
├── UnavailableError     something outside is away (broker, ClickHouse, port): retry
├── WriteError           a write failed for good: the process must end rather than pass over it
├── FencedError          another worker owns the partition now: the process must end
├── BadLineError         one line of a frame cannot be read: it is rejected, the rest counts
├── BadEventError        what an emitter was given is no event, or the collector says so
├── BufferFullError      an emitter's buffer stays full: UnavailableError, retry
└── ClosedError          an emitter was used after it was closed, or in a process forked from its own
"""

from __future__ import annotations


class FootfallError(Exception):
    """Base of all; `retry` says whether the same call may succeed later, unchanged."""

    retry = False


class ConfigError(FootfallError):
    """A setting or the plan is wrong. The message names the key, what was expected, and how to mend it."""


class LayoutError(FootfallError):
    """What lies in Kafka has another layout than the settings say; going on would give wrong numbers."""


class UnavailableError(FootfallError):
    """Something that Footfall needs is not there at the moment."""

    retry = True


class WriteError(FootfallError):
    """A write was refused for good. Nothing after it may be acknowledged."""


class FencedError(FootfallError):
    """Another process has taken over what this one was writing to."""


class BadLineError(FootfallError):
    """One line of a frame cannot be read; the message says why, with the path into the JSON."""


class BadEventError(FootfallError):
    """An event that can never be taken; the message says why, with the path into it."""


class BufferFullError(UnavailableError):
    """There is no room for more events: those before are not delivered yet."""


class ClosedError(FootfallError):
    """This object cannot be used any more, or not in this process."""
