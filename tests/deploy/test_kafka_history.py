"""Events read back from Kafka: all of them, in the order in which they came in, without those of persons who were forgotten."""

from __future__ import annotations

import time
from typing import Literal

import msgspec
import pytest
from kafka import KafkaProducer

from deploy.kafka.history import KafkaHistory
from deploy.kafka.topics import create_topics
from ingest.contract.control import Control, Erasure, encode_control
from ingest.contract.event import make_frame
from ingest.contract.settings import Settings, kafka_options
from ingest.contract.topics import topic_names


def line(number: int, person: str, received: int) -> bytes:
    event = {"id": str(number), "app": "harbor", "person": person, "event": "e", "time": received, "received": received}
    return msgspec.json.encode(event)


def control(kind: Literal["forget", "erase"], person: str, upto: int = 0) -> bytes:
    erase = (Erasure(person, upto),) if kind == "erase" else ()
    return encode_control(Control(control=kind, at=1, person=person if kind == "forget" else "", erase=erase))


@pytest.mark.broker
def test_what_was_forgotten_is_passed_over_and_what_came_after_is_not(settings: Settings) -> None:
    create_topics(settings)
    now = int(time.time() * 1000)
    producer = KafkaProducer(**kafka_options(settings.kafka), acks="all")
    frames = [
        (0, make_frame([line(1, "u:gone", now), line(2, "u:stays", now)])),
        (1, line(3, "u:gone", now)),  # of that name elsewhere: what is forgotten is so in its own partition
        (0, control("forget", "u:gone")),
        (0, line(4, "u:gone", now)),
        (2, line(5, "a:erased", now)),
        (2, line(6, "a:erased", now)),
        (2, control("erase", "a:erased", upto=0)),
    ]
    try:
        for partition, frame in frames:
            producer.send(topic_names(settings).events, frame, partition=partition).get(30)
    finally:
        producer.close()
    with KafkaHistory(settings) as history:
        found = {msgspec.json.decode(one)["id"] for part in history.slices() for one in part.split(b"\n")}
    assert found == {"2", "3", "4", "6"}
