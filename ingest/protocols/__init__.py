"""One module per protocol: bytes of a request in, event lines and refusals out. Pure: receipt and limits are arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVarTuple

import msgspec

from ingest.json_text import DECODE_ERRORS, words
from ingest.keys import Keys
from ingest.limits import MAX_LINE_BYTES, Limits
from ingest.line import EventLine, encode_line
from ingest.reasons import Reason, Refusal, RefusedError
from ingest.tracking import Label, labels

#: What holds for events of all protocols once they are decoded: changes the event, or raises RefusedError.
EventRule = Callable[[EventLine], None]
#: Takes out of a refusal (received at, ms) what is not to be kept.
Concealer = Callable[[Refusal, int], Refusal]
Ts = TypeVarTuple("Ts")


class Receipt(NamedTuple):
    """What a decoder is told about the request besides its body.

    received     when it came (ms)
    keys         the plan's write keys; `candidates`: what header and query say, the best first
    rules        applied in order to each decoded event; conceal: to what is refused, before it is kept
    """

    received: int
    keys: Keys
    limits: Limits
    candidates: tuple[str, ...] = ()
    rules: tuple[EventRule, ...] = ()
    conceal: Concealer | None = None


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """An event that counts: its app, person, and encoded line."""

    app: str
    person: str
    line: bytes


@dataclass(slots=True)
class Batch:
    """What became of the events of a request's body; beyond: how many more events than entries there are among the refused."""

    rules: tuple[EventRule, ...] = ()
    accepted: list[Accepted] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    violations: list[Label] = field(default_factory=list)
    beyond: int = 0

    def add(self, index: int, raw: bytes, path: str, app: str, decode: Callable[[*Ts], EventLine], *args: *Ts) -> None:
        """Decodes one event, by `decode` with what follows it; whatever is wrong with it concerns it alone.

        path   where it is in the body, with {} for its index
        """
        event: EventLine | None = None
        try:
            event = decode(*args)
            for rule in self.rules:
                rule(event)
            line = encode_line(event)
            if len(line) > MAX_LINE_BYTES:
                raise RefusedError(
                    Reason.TOO_LARGE, f"the event's line has {len(line)} bytes, at most {MAX_LINE_BYTES} fit a frame"
                )
        except RefusedError as error:
            self.refuse(index, error.reason, words(error, path.format(index)), raw, app or error.app)
        except DECODE_ERRORS as error:
            self.refuse(index, reason_of(error), words(error, path.format(index)), raw, app)
        else:
            self.accepted.append(Accepted(event.app, event.person, line))
        if event is not None and event.violations:
            self.violations += labels(event.app, event.event, event.violations)

    def refuse(self, index: int, reason: Reason, detail: str, payload: bytes, app: str = "") -> None:
        """Sets something aside."""
        self.refused.append(Refusal(index, reason, detail, payload, app))


def reason_of(error: Exception) -> Reason:
    """The reason that a decoder's error is."""
    if isinstance(error, RecursionError):
        return Reason.TOO_DEEP
    return Reason.BAD_EVENT if isinstance(error, msgspec.ValidationError) else Reason.BAD_JSON
