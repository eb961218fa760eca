"""What is kept of a request that could not be accepted: enough to send all of it again, whatever it was."""

from __future__ import annotations

import base64
import gzip
import json
import random
from urllib.parse import quote

import msgspec
import pytest

from ingest.contract.rejected import MAX_PAYLOAD_BYTES, MAX_REQUEST_PAYLOAD_BYTES, Rejected, payload_fields, payload_of
from ingest.inflate import inflate
from ingest.reasons import Reason, RefusedError
from ingest.resubmit import resend
from tests.ingest.helpers import post, rejections

#: What Kafka takes of a record of the rejected topic, less what is beside the payload.
ROOM = 3_900_000


def test_a_batch_of_the_largest_size_that_segments_sdks_send_is_kept_whole() -> None:
    body = json.dumps({"batch": [{"type": "track", "event": "e", "userId": str(n), "x": "y" * 900} for n in range(480)]}).encode()
    assert len(body) > 450_000
    (row,) = rejections(post("/v1/batch", body, key="unheard-of"))
    assert (row.reason, row.truncated, payload_of(row)) == (Reason.UNKNOWN_KEY, False, body)


@pytest.mark.parametrize("unit", [b"a", b"\0", b'"', b"\xff", "步".encode()])
@pytest.mark.parametrize("size", [MAX_PAYLOAD_BYTES, MAX_REQUEST_PAYLOAD_BYTES, MAX_REQUEST_PAYLOAD_BYTES + 9])
def test_a_payload_fits_a_record_and_can_be_had_back(unit: bytes, size: int) -> None:
    raw = unit * (size // len(unit))
    text, encoding, truncated = payload_fields(raw, MAX_REQUEST_PAYLOAD_BYTES)
    row = Rejected(at=1, stage="collector", reason="r", detail="", payload=text, encoding=encoding, truncated=truncated)
    assert len(msgspec.json.encode(row)) < ROOM
    assert not truncated, "what is this much alike is kept whole by compressing it"
    assert payload_of(row) == raw


@pytest.mark.parametrize("size", [MAX_REQUEST_PAYLOAD_BYTES, MAX_REQUEST_PAYLOAD_BYTES + 9])
def test_a_payload_that_cannot_be_made_smaller_is_cut_and_says_so(size: int) -> None:
    raw = random.Random(7).randbytes(size)
    text, encoding, truncated = payload_fields(raw, MAX_REQUEST_PAYLOAD_BYTES)
    row = Rejected(at=1, stage="collector", reason="r", detail="", payload=text, encoding=encoding, truncated=truncated)
    assert len(msgspec.json.encode(row)) < ROOM
    assert truncated == (len(raw) > MAX_REQUEST_PAYLOAD_BYTES)
    assert payload_of(row) == raw[:MAX_REQUEST_PAYLOAD_BYTES]


def test_a_batch_that_is_longer_than_what_is_kept_of_a_request_is_kept_whole_all_the_same() -> None:
    rng = random.Random(7)
    events = [
        {
            "type": "track",
            "event": "e",
            "userId": f"{rng.random()}",
            "properties": {"text": "some words " * 40, "n": rng.random()},
        }
        for _ in range(8000)
    ]
    body = json.dumps({"batch": events}).encode()
    assert MAX_REQUEST_PAYLOAD_BYTES < len(body) < 5 * 1024 * 1024
    (row,) = rejections(post("/v1/batch", body, key="unheard-of"))
    assert (row.reason, row.truncated, row.encoding) == (Reason.UNKNOWN_KEY, False, "gzip+base64")
    assert payload_of(row) == body
    assert resend(row, "0" * 16).body == body


@pytest.mark.parametrize("element", [b'"' + b"\x01" * 100_000 + b'"', b'{"type":"track","properties":{"x":"%b"}}' % (b"y" * 50)])
def test_a_small_body_of_very_many_refused_events_is_kept_as_it_came(element: bytes) -> None:
    raw = b"[" + b",".join([element] * (80 if len(element) > 999 else 900)) + b"]"
    body = b"gzip=1&data_list=" + quote(base64.b64encode(gzip.compress(raw))).encode()
    intake = post("/sa", body, query="token=unheard-of")
    assert len(intake.refused) == raw.count(element)
    (row,) = rejections(intake)
    assert payload_of(row) == body
    assert row.detail.startswith(f"{len(intake.refused)} events, the first: ")
    assert "index" not in row.context


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/events", "/sa"])
@pytest.mark.parametrize("query", ["&".join(["a=1"] * 250), "a=\udcff", "%zz&&&=" * 50])
def test_no_query_keeps_a_refusal_from_being_kept(path: str, query: str) -> None:
    intake = post(path, b'{"batch": [{"type": "track"}]}', query=query)
    assert intake.rejected


def test_gzip_of_very_many_members_is_refused_at_once() -> None:
    with pytest.raises(RefusedError) as caught:
        inflate(gzip.compress(b"") * 100_000, "", 1_000_000)
    assert caught.value.reason == Reason.BAD_ENCODING
