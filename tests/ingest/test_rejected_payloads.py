"""What is kept of a request that could not be accepted: enough to send all of it again, whatever it was."""

from __future__ import annotations

import gzip
import json

import msgspec
import pytest

from ingest.contract.rejected import MAX_PAYLOAD_BYTES, MAX_REQUEST_PAYLOAD_BYTES, Rejected, payload_fields, payload_of
from ingest.inflate import inflate
from ingest.reasons import Reason, RefusedError
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
    assert truncated == (len(raw) > MAX_REQUEST_PAYLOAD_BYTES)
    assert payload_of(row) == raw[:MAX_REQUEST_PAYLOAD_BYTES]


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/events", "/sa"])
@pytest.mark.parametrize("query", ["&".join(["a=1"] * 250), "a=\udcff", "%zz&&&=" * 50])
def test_no_query_keeps_a_refusal_from_being_kept(path: str, query: str) -> None:
    intake = post(path, b'{"batch": [{"type": "track"}]}', query=query)
    assert intake.rejected


def test_gzip_of_very_many_members_is_refused_at_once() -> None:
    with pytest.raises(RefusedError) as caught:
        inflate(gzip.compress(b"") * 100_000, "", 1_000_000)
    assert caught.value.reason == Reason.BAD_ENCODING
