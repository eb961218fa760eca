"""Whatever is sent to whichever path: no error of ours, valid lines or refusals with a reason, and an answer the SDK can bear."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.intake import Intake
from ingest.reasons import Reason
from ingest.routes import ROUTES
from tests.ingest.helpers import LIMITS, events, post, rejections

NAMES = [
    *("event", "type", "time", "user_id", "anonymous_id", "props", "duration", "ids", "batch", "writeKey", "sentAt", "messageId"),
    *("userId", "anonymousId", "properties", "context", "timestamp", "distinct_id", "login_id", "identities", "lib", "_track_id"),
    *("_flush_time", "$is_login_id", "$event_duration", "$os", "library", "os", "app", "name", "version", "previousId", "token"),
    *("track_signup", "original_id", "item_id", "campaign", "device", "id", "payloads", "ekey", "$lib"),
    *(
        "api_key",
        "uuid",
        "sent_at",
        "offset",
        "options",
        "cookieless_mode",
        "$set",
        "$set_once",
        "$groups",
        "$group_type",
        "alias",
    ),
    *("$anon_distinct_id", "$device_id", "$user_id", "$is_identified", "$insert_id", "historical_migration", "traits"),
]
TEXTS = [
    *("track", "identify", "page", "track_id_bind", "item_set", "profile_set", "x", "", "WRITEKEY_seg", "$AppEnd"),
    *("$identify", "$create_alias", "$merge_dangerously", "phc_TOKEN"),
    "2026-11-22T05:38:57.991Z",
]
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1795330000000, 2**63, 10**30, -1])
    | st.floats()
    | st.sampled_from(TEXTS)
    | st.text(max_size=20)
)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=6), inner, max_size=8),
    max_leaves=25,
)
paths = st.sampled_from(sorted(ROUTES))
header_names = st.sampled_from(
    [
        "Content-Encoding",
        "Content-Type",
        "Authorization",
        "X-Write-Key",
        "AnonymousId",
        "PostHog-Sdk-Info",
        "PostHog-Request-Timestamp",
    ]
)


def check(path: str, intake: Intake) -> None:
    events(intake)
    assert len(intake.rejected) == len(rejections(intake))
    assert all(isinstance(one.reason, Reason) and one.reason is not Reason.UNFORESEEN for one in intake.refused)
    if ROUTES[path].protocol == "native":
        assert intake.answer.status in (200, 400, 401, 413)
    else:
        assert intake.answer.status == 200
        assert len(intake.rejected) == len(intake.refused)


def as_json(value: Any) -> bytes:
    """JSON with all that Python lets through: NaN, Infinity, lone surrogates as escapes."""
    return json.dumps(value).encode()


@settings(max_examples=400)
@given(paths, documents, st.sampled_from(["plain", "gzip", "zstd", "array", "batch", "data", "data_list"]))
def test_any_json(path: str, value: Any, form: str) -> None:
    body = as_json(value)
    if form == "gzip":
        body = gzip.compress(body)
    elif form == "zstd":
        body = zstandard.compress(body)
    elif form == "array":
        body = b"[" + body + b"," + body + b"]"
    elif form == "batch":
        body = b'{"writeKey":"WRITEKEY_seg","batch":[' + body + b',{"type":"track","event":"e","userId":"1"}]}'
    elif form in ("data", "data_list"):
        body = form.encode() + b"=" + base64.b64encode(gzip.compress(body)) + b"&gzip=1"
    check(path, post(path, body))


@settings(max_examples=300)
@given(paths, st.binary(max_size=200), st.text(max_size=50), st.dictionaries(header_names, st.text(max_size=20)))
def test_any_bytes(path: str, body: bytes, query: str, headers: dict[str, str]) -> None:
    for method in ROUTES[path].methods:
        check(path, post(path, body, query=query, headers=headers, method=method))
        check(path, post(path, b"\x28\xb5\x2f\xfd" + body, headers=headers, method=method))
        check(path, post(path, b"data=" + body, query="token=SA_TOKEN&data=" + query, method=method))
        check(path, post(path, b'{"batch":[' + body + b'],"writeKey":"WRITEKEY_seg"}', method=method))


@settings(max_examples=300)
@given(
    st.dictionaries(st.sampled_from(NAMES), documents, max_size=8),
    st.dictionaries(st.sampled_from(NAMES), documents, max_size=8),
    st.sampled_from(TEXTS),
)
def test_any_event_of_posthog(fields: dict[str, Any], properties: dict[str, Any], name: str) -> None:
    event = {"event": name, "distinct_id": "d", "uuid": "1"} | fields | {"properties": properties}
    for path in ("/batch/", "/i/v1/analytics/events"):
        check(path, post(path, as_json({"api_key": "phc_TOKEN", "batch": [event, fields]})))


@given(st.lists(documents, max_size=8), st.integers(0, 3))
def test_a_good_event_survives_any_neighbours(values: list[Any], limit: int) -> None:
    good = b'{"type":"track","event":"e","userId":"1","messageId":"good"}'
    body = b'{"batch":[' + b",".join([good, *map(as_json, values)]) + b"]}"
    found = events(post("/v1/batch", body, limits=LIMITS._replace(batch_events=limit + 1)))
    assert found[0].id == "good"
