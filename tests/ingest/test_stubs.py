"""What SDKs ask for besides sending events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ingest.routes import ROUTES
from ingest.stubs import Asked, stub_of
from tests.ingest.helpers import basic
from tests.ingest.running import RunningCollector


def ask(path: str, query: str = "", **headers: str) -> Any:
    """A stub's JSON."""
    stub = stub_of(path)
    assert stub is not None
    answer = stub(Asked(query, {name.replace("_", "-"): value for name, value in headers.items()}))
    assert (answer.status, answer.content_type) == (200, "application/json")
    return json.loads(answer.body)


@pytest.mark.parametrize(
    ("headers", "sends_to"),
    [
        ({"Host": "t.bank.example"}, {"apiHost": "t.bank.example/v1"}),
        ({"Host": "127.0.0.1:8090", "Origin": "http://x"}, {"apiHost": "127.0.0.1:8090/v1", "protocol": "http"}),
        ({"Host": "[::1]:8090", "Referer": "https://x/y"}, {"apiHost": "[::1]:8090/v1", "protocol": "https"}),
        ({"Host": "a", "Origin": "http://x", "X_Forwarded_Proto": "https"}, {"apiHost": "a/v1", "protocol": "https"}),
        ({"Host": "a/b", "Origin": "null"}, {}),
        ({}, {}),
    ],
)
def test_segments_sdks_are_told_to_send_here(headers: dict[str, str], sends_to: dict[str, str]) -> None:
    found = ask("/v1/projects/WRITEKEY_seg/settings", **headers)
    segment = found["integrations"]["Segment.io"]
    assert segment["apiKey"] == "WRITEKEY_seg"
    assert {name: segment[name] for name in ("apiHost", "protocol") if name in segment} == sends_to


@pytest.mark.parametrize("path", ["/sourceConfig/", "/sourceConfig"])
def test_rudderstacks_source_is_enabled(path: str) -> None:
    for found in (ask(path, "p=npm&writeKey=k"), ask(path, Authorization=basic("k"))):
        assert (found["source"]["enabled"], found["source"]["writeKey"], found["source"]["destinations"]) == (True, "k", [])


def test_posthog_has_no_flags_and_no_recording() -> None:
    config = ask("/array/phc_TOKEN/config")
    assert (config["hasFeatureFlags"], config["sessionRecording"], config["analytics"]) == (
        False,
        False,
        {"endpoint": "/i/v0/e/"},
    )
    for path in ("/flags/", "/flags", "/decide/"):
        assert (ask(path, "v=2")["featureFlags"], ask(path)["flags"]) == ({}, {})
    script = stub_of("/array/phc_TOKEN/config.js")
    assert script is not None
    assert script(Asked("", {})).content_type == "application/javascript"


def test_other_paths_are_no_stubs() -> None:
    assert [stub_of(path) for path in (*ROUTES, "/", "/v1/projects//settings", "/array/a/b/config", "/batch")] == [None] * (
        len(ROUTES) + 4
    )


@pytest.mark.broker
@pytest.mark.timeout(120)
def test_the_collector_answers_them_to_pages_of_any_origin(collector: RunningCollector) -> None:
    origin = {"Origin": "https://bank.example"}
    for path in ("/v1/projects/k/settings", "/sourceConfig/?writeKey=k", "/array/k/config", "/flags/?v=2"):
        answer = collector.ask(path, headers=origin)
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, "https://bank.example")
        assert answer.json()
        preflight = collector.ask(path, headers=origin, method="OPTIONS")
        assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (204, "https://bank.example")
        assert collector.ask(path, method="DELETE").status == 405
    assert collector.ask("/flags/?v=2", b"\x1f\x8b whatever", origin).status == 200
    settings = collector.ask("/v1/projects/k/settings", headers=origin).json()
    assert settings["integrations"]["Segment.io"]["apiHost"] == f"127.0.0.1:{collector.port}/v1"
    assert collector.ask("/batch", b"{}").status == 404, "without the slash it is not PostHog's, and nothing is redirected"
