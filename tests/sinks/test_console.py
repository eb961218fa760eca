"""The console's door: who may look, what it sends, and the sinks' process that has it."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from deploy.kafka.topics import create_topics
from ingest.contract.errors import ConfigError, UnavailableError
from ingest.contract.settings import Settings, SinksSettings, read_settings
from sinks.console.guard import host_name
from sinks.console.server import Console
from tests.conftest import DEMO
from tests.ports import free_port
from tests.sinks.chromium import Chromium, program
from tests.sinks.console_page import READY
from tests.sinks.console_rig import Rig
from tests.sinks.embedded import embedded
from tests.sinks.process import SinksProcess, until

TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module", params=["", TOKEN], ids=["open", "token"])
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    plan = read_settings(DEMO.read_text(), {})
    plan = msgspec.structs.replace(
        plan,
        data_dir=str(tmp_path_factory.mktemp("console") / "var"),
        sinks=msgspec.structs.replace(plan.sinks, console_token=request.param),
    )
    with embedded(plan) as (store, client):
        made = Rig(plan, store, client)
        yield made
        made.close()


def allowed(rig: Rig) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKEN}"} if rig.settings.sinks.console_token else {}


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()


@pytest.mark.clickhouse
@pytest.mark.parametrize("path", ["/", "/docs", "/main.js", "/api/v1/now", "/api/v1/live", "/nothing"])
def test_with_a_token_nothing_is_seen_without_it(rig: Rig, path: str) -> None:
    if not rig.settings.sinks.console_token:
        assert path == "/api/v1/live" or rig.get(path, {"Authorization": "Bearer whatever"}).status in (200, 404)
        return
    refused = [{}, {"Authorization": "Bearer wrong"}, {"Authorization": basic("wrong")}, {"Authorization": "Basic %%%"}]
    for headers in [*refused, {"Authorization": "Bearer"}, {"Authorization": f"Bearer {TOKEN[:-1]}"}, {"Authorization": TOKEN}]:
        reply = rig.get(path, headers)
        assert (reply.status, reply.json()["code"]) == (401, "unauthorized")
        assert reply.headers["www-authenticate"].startswith("Basic ")
    if path != "/api/v1/live":
        for good in (f"Bearer {TOKEN}", f"bearer {TOKEN}", basic(TOKEN)):
            assert rig.get(path, {"Authorization": good}).status == (404 if path == "/nothing" else 200)


@pytest.mark.clickhouse
@pytest.mark.skipif(program() is None, reason="no Chromium on this machine (Debian: apt-get install chromium)")
def test_a_browser_that_was_given_the_token_with_the_address_shows_both_pages(rig: Rig, browser: Chromium) -> None:
    address = rig.url.replace("//", f"//anybody:{TOKEN}@")
    browser.screen(1280)
    browser.open(address)
    browser.wait(READY)
    browser.open(address + "/docs")
    browser.wait("document.querySelectorAll('section').length > 5")
    assert browser.complaints == []


@pytest.mark.clickhouse
def test_without_a_token_only_this_machines_own_names_are_answered(rig: Rig) -> None:
    if rig.settings.sinks.console_token:
        assert rig.get("/", allowed(rig) | {"Host": "numbers.bank.example"}).status == 200
        return
    for host in ("evil.example", f"evil.example:{rig.console.port}", "127.0.0.1.evil.example", "[::", ""):
        assert rig.get("/api/v1/now", {"Host": host}).status == 403, host
    for host in ("localhost", f"localhost:{rig.console.port}", "127.0.0.1:1", f"[::1]:{rig.console.port}", "LOCALHOST"):
        assert rig.get("/api/v1/now", {"Host": host}).status == 200, host


def test_a_host_header_that_is_nonsense_has_no_name() -> None:
    assert [host_name(one) for one in ("[", "a b", "@", "", "::1")] == ["", "a b", "", "", ""]


@pytest.mark.clickhouse
@pytest.mark.parametrize("path", ["/", "/docs", "/main.js", "/style.css", "/favicon.svg", "/api/v1/apps", "/nothing"])
def test_every_answer_forbids_foreign_scripts_and_frames(rig: Rig, path: str) -> None:
    headers = rig.get(path, allowed(rig)).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert "python" not in headers["server"].lower()


@pytest.mark.clickhouse
def test_files_are_sent_once_and_packed(rig: Rig) -> None:
    path = "/vendor/echarts.min.js"
    plain = rig.get(path, allowed(rig))
    packed = rig.get(path, allowed(rig) | {"Accept-Encoding": "gzip"})
    assert len(packed.body) < len(plain.body) / 2
    assert gzip.decompress(packed.body) == plain.body
    again = rig.get(path, allowed(rig) | {"If-None-Match": plain.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    head = rig.get("/", allowed(rig), method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) > 500


@pytest.mark.clickhouse
@pytest.mark.parametrize("path", ["/../main.py", "/%2e%2e/server.py", "/vendor/", "/static/main.js", "/vendor/../../server.py"])
def test_only_the_pages_own_files_are_served(rig: Rig, path: str) -> None:
    assert rig.get(path, allowed(rig)).status == 404


@pytest.mark.clickhouse
def test_the_charting_librarys_licence_comes_along(rig: Rig) -> None:
    assert b"Apache License" in rig.get("/vendor/echarts.LICENSE.txt", allowed(rig)).body
    assert b"Apache Software Foundation" in rig.get("/vendor/echarts.NOTICE.txt", allowed(rig)).body


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5"])
def test_beyond_loopback_a_token_is_asked_for_at_the_start(host: str) -> None:
    with pytest.raises(ConfigError, match=r"set sinks\.console_token"):
        read_settings(f'[sinks]\nconsole_host = "{host}"\n', {})
    found = read_settings(f'[sinks]\nconsole_host = "{host}"\nconsole_token = "${{T}}"\n', {"T": TOKEN})
    assert found.sinks.console_token == TOKEN


@pytest.mark.parametrize("token", ["short", "fifteen-letters", "with a\nline break in it", "密码密码密码密码密码密码密码密码"])
def test_a_token_that_is_easily_guessed_or_cannot_be_sent_is_refused(token: str) -> None:
    with pytest.raises(ConfigError, match="16 or more printable ASCII"):
        SinksSettings(console_token=token)


def test_the_token_is_not_shown() -> None:
    assert TOKEN not in repr(SinksSettings(console_token=TOKEN))


@pytest.mark.clickhouse
def test_a_port_in_use_is_said_with_the_key_to_change(rig: Rig) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UnavailableError, match=r"set sinks\.console_port"):
            Console("127.0.0.1", taken.getsockname()[1], rig.console.service, "")


@pytest.mark.broker
@pytest.mark.clickhouse
def test_the_sinks_process_serves_console_and_api_and_stops_cleanly(settings: Settings) -> None:
    settings = msgspec.structs.replace(settings, sinks=msgspec.structs.replace(settings.sinks, console_port=free_port()))
    create_topics(settings)
    with SinksProcess(settings) as sinks:
        sinks.until_ready()
        door = settings.sinks.port
        sinks.settings = msgspec.structs.replace(
            settings, sinks=msgspec.structs.replace(settings.sinks, port=settings.sinks.console_port)
        )
        until(lambda: '"caught_up":true' in sinks.get("/api/v1/pipeline")[1], sinks)
        assert "<title>Footfall</title>" in sinks.get("/")[1]
        assert sinks.get("/api/v1/metrics?metric=active_users") == (200, '{"rows":[],"next_cursor":null}')
        assert sinks.get("/metrics")[0] == 404, "that is on the other door"
        assert door != settings.sinks.console_port
        assert sinks.stop() == 0


def test_the_pages_files_are_in_the_package() -> None:
    """What pyproject's package-data must name."""
    folder = Path(__file__).parents[2] / "sinks" / "console" / "static"
    suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
    listed = (folder.parents[2] / "pyproject.toml").read_text()
    assert all(f'"*{suffix}"' in listed for suffix in suffixes)


def test_an_export_that_is_cut_says_where_it_goes_on(rig: Rig) -> None:
    for app in ("harbor", "pioneer", "rural"):
        rig.put("active_users", 5, app, window="5m")
    rig.land()
    token = {"Authorization": f"Bearer {TOKEN}"}
    asked = "/api/v1/metrics?metric=active_users&facet=*&window=5m&export=csv"
    whole = rig.get(asked, token)
    rows = list(csv.DictReader(io.StringIO(whole.body.decode())))
    assert "link" not in whole.headers
    assert "link" not in rig.get(f"{asked}&limit={len(rows)}", token).headers, "exactly as many as there are"
    assert {row["hour"] for row in rows} == {""}, "no hour is no number"
    found, path = [], asked + "&limit=1"
    while path:
        answer = rig.get(path, token)
        found += list(csv.DictReader(io.StringIO(answer.body.decode())))
        link = answer.headers.get("link", "")
        assert not link or link.endswith('>; rel="next"')
        path = link[1:].partition(">")[0]
    assert found == rows
    assert len(rows) > 1
