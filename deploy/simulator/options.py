"""What to simulate, and what came of it. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the simulator.

    seed         who there is and what they do: the same seed, plan, persons and days give the same events
    persons      how many persons there are
    days         whole local days before today to make up; with `live`, today up to now as well (over HTTP, beside what is live)
    events       stop after that many (0: no limit); over past days, visits are thinned evenly so that all days get some
    rate         events a second (0: as fast as possible; live: 20). Live traffic has it in the busiest hour, and less in others
    floor        the least part of `rate` that live traffic falls to at night
    live         send events that happen now, until stopped (or `seconds` have passed)
    via          "http": the collector's native endpoint; "kafka": frames straight into the events topic
    url          of the collector; "" is the one of the settings
    gzip         compress request bodies
    batch        events in a request or frame
    connections  requests at the same time
    duplicates   part of the events that is sent twice, as SDKs do after a lost answer
    late         part of the events that arrives much later than it happened (live: up to 10 min; kafka: up to 40 days)
    strangers    part of the past days with visits on which a person comes anonymously, under a new id, hours before the login
    patience_s   how long an event is tried again before the run gives up
    """

    seed: int = 1
    persons: Annotated[int, msgspec.Meta(ge=1, le=20_000_000)] = 12_000
    days: Annotated[int, msgspec.Meta(ge=0, le=800)] = 0
    events: Annotated[int, msgspec.Meta(ge=0)] = 0
    rate: Annotated[float, msgspec.Meta(ge=0)] = 0
    floor: Share = 0.25
    live: bool = False
    seconds: Annotated[float, msgspec.Meta(ge=0)] = 0
    via: Literal["http", "kafka"] = "http"
    url: str = ""
    gzip: bool = False
    batch: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 500
    connections: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    duplicates: Share = 0.01
    late: Share = 0.005
    strangers: Share = 0.0
    patience_s: Annotated[float, msgspec.Meta(ge=0)] = 120.0


class Summary(msgspec.Struct, kw_only=True):
    """Events sent (each copy counts), those acknowledged, tries that were repeated, and how long it took."""

    sent: int = 0
    acked: int = 0
    retries: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        pace = f", {self.acked / self.seconds:,.0f} events/s" if self.seconds else ""
        again = f", {self.retries} requests repeated" if self.retries else ""
        return f"{self.acked:,} of {self.sent:,} events acknowledged in {self.seconds:.1f} s{pace}{again}"
