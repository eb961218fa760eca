"""Two writers of one partition, in a process of their own: prints first offset, what the late write raised, second offset."""

from __future__ import annotations

import asyncio
import sys

import msgspec

from ingest.contract.errors import FencedError
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names
from streams.partition import Taken
from streams.worker.kafka_options import aiokafka_options
from streams.worker.writer import CheckpointWriter


async def main(settings: Settings) -> None:
    names, options = topic_names(settings), aiokafka_options(settings.kafka)
    frozen, heir = CheckpointWriter(names, options), CheckpointWriter(names, options)
    taken = Taken([(b"u:1", b"old")], [(b"k", b"{}")], [], [])
    await frozen.own(0)
    print(await frozen.write(0, taken))
    await heir.own(0)
    try:
        await frozen.write(0, taken)
    except FencedError as error:
        print(error)
    print(await heir.write(0, taken))
    await heir.close()


if __name__ == "__main__":
    asyncio.run(main(msgspec.json.decode(sys.stdin.buffer.read(), type=Settings)))
