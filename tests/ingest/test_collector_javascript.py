"""Real JavaScript SDKs, unchanged, in Node and in a Chromium page, against a running collector behind a door that fails first."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode

import pytest

from deploy.bootstrap import NO_SDKS, SDKS, SDKS_LOCKED, provide_sdks
from ingest.contract.event import Event
from tests.ingest.front import FailingFront, Failure
from tests.ingest.running import RunningCollector
from tests.ingest.sdks import BATCH, arrived, check_batch, told, visitor_of
from tests.sinks.chromium import Chromium, program

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]
NODE_AT_LEAST = 20
#: What PostHog's browser SDK sends by itself.
VIEWS = {"$pageview", "$pageleave", "$autocapture", "$web_vitals"}


@pytest.fixture(scope="module")
def sdks() -> Path:
    """The folder that has the SDKs' node_modules."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        pytest.skip("node or npm is not installed (Debian: apt-get install nodejs npm)")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").partition(".")[0]) < NODE_AT_LEAST:
        pytest.skip(f"the SDKs need Node.js {NODE_AT_LEAST}, this is {version}")
    if why := os.environ.get(NO_SDKS) or " ".join(provide_sdks()):
        pytest.skip(why)
    return SDKS


class Pages(SimpleHTTPRequestHandler):
    """The page that runs the SDKs, and their node_modules."""

    def translate_path(self, path: str) -> str:
        path = path.partition("?")[0]
        return str((SDKS if path.startswith("/node_modules/") else SDKS_LOCKED) / path.lstrip("/"))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def pages(sdks: Path) -> Iterator[str]:
    """The address of the pages; another origin than the collector's."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Pages, directory=str(sdks)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    path = program()
    if path is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    browser = Chromium(path, tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


def run_node(script: str, sdks: Path, made: str, visitor: str, user: str) -> None:
    """Runs a script of tests/ingest/js to its end; `made` is the code that makes the client."""
    command = ["node", str(SDKS_LOCKED / script), str(sdks / "package.json"), made, visitor, user]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@contextmanager
def running_node(script: str, sdks: Path, made: str, *arguments: str) -> Iterator[None]:
    """Runs a script of tests/ingest/js that has no end by itself."""
    command = ["node", str(SDKS_LOCKED / script), str(sdks / "package.json"), made, *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        alive = process.poll() is None
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert alive, said[-3000:]


def props_of(found: list[Event], name: str) -> dict[str, object]:
    """The properties of the events of that name, which are all alike."""
    (props,) = {event.id: event.props for event in found if event.event == name}.values()
    return props


def test_segment_analytics_node(collector: RunningCollector, sdks: Path) -> None:
    user, visitor = "user-node", "anon-node"
    with FailingFront(collector.port, ("refuse", "lose")) as front:
        run_node("segment_node.mjs", sdks, told("Segment, Node", front.address, "WRITEKEY_seg"), visitor, user)
        assert front.failed() == 2
    found = arrived(collector, f"u:{user}", 51)
    check_batch(found)
    assert len({event.id for event in found}) == 51
    assert visitor_of(found) == f"a:{visitor}"
    assert props_of(found, "identify") == {"姓名": "张三"}
    assert {event.lib for event in found} == {"@segment/analytics-node"}
    assert props_of(arrived(collector, f"a:{visitor}", 1), "页面点击") == {"按钮": "立即申购"}


def test_rudder_sdk_node(collector: RunningCollector, sdks: Path) -> None:
    user, visitor = "user-rudder-node", "anon-rudder-node"
    with FailingFront(collector.port, ("refuse", "lose")) as front:
        run_node("rudder_node.mjs", sdks, told("RudderStack, Node", front.address, "WRITEKEY_rud"), visitor, user)
        assert front.failed() == 2
        assert front.encodings == {"gzip"}
    found = arrived(collector, f"u:{user}", 51)
    check_batch(found)
    assert len({event.id for event in found}) == 51
    assert visitor_of(found) == f"a:{visitor}"
    assert props_of(found, "identify") == {"姓名": "张三"}
    assert {(event.app, event.lib, event.lib_version) for event in found} == {("bank", "analytics-node", "3.0.13")}
    assert props_of(arrived(collector, f"a:{visitor}", 1), "页面点击") == {"按钮": "立即申购"}


@pytest.mark.parametrize("failures", [(), ("lose",)])
def test_sensors_node(collector: RunningCollector, sdks: Path, failures: tuple[Failure, ...]) -> None:
    """It sends nothing again: what a door refuses is lost, and what only its answer is lost of, is not."""
    user, visitor = f"user-sa-node-{len(failures)}", f"anon-sa-node-{len(failures)}"
    with FailingFront(collector.port, failures) as front:
        run_node("sensors_node.mjs", sdks, told("Sensors Analytics, Node", front.address, "SA_TOKEN"), visitor, user)
        assert front.failed() == len(failures)
    found = arrived(collector, f"u:{user}", 52)
    check_batch(found, "BatchEvent")
    assert len(found) == len({event.id for event in found}) == 52
    assert visitor_of(found) == f"a:{visitor}"
    assert props_of(found, "profile_set")["name"] == "张三"
    assert {(event.lib, event.lib_version) for event in found} == {("Node", "1.2.6")}
    assert props_of(arrived(collector, f"a:{visitor}", 1), "PageClick")["btn"] == "立即申购"


@pytest.mark.parametrize(("plugin", "failures"), [("", ()), ("", ("cut",)), ("gzip", ())])
def test_sensors_mini_program(collector: RunningCollector, sdks: Path, plugin: str, failures: tuple[Failure, ...]) -> None:
    """The SDK and its HTTP are real; the phone and WeChat are stand-ins (wechat.mjs)."""
    user = f"user-mp-{plugin}-{len(failures)}"
    with FailingFront(collector.port, failures) as front:
        made = told("Sensors Analytics, mini-program", front.address, "SA_TOKEN")
        with running_node("sensors_miniprogram.mjs", sdks, made, plugin, user):
            found = arrived(collector, f"u:{user}", 53)
        assert front.failed() == len(failures)
    check_batch(found)
    assert {event.event for event in found} == {"$SignUp", "profile_set", BATCH, "$MPHide"}
    assert props_of(found, "profile_set")["name"] == "张三"
    assert {(event.lib, event.lib_version) for event in found} == {("MiniProgram", "1.22.7")}
    assert {event.version for event in found if event.type == "track"} == {"9.1.0"}
    visitor = arrived(collector, visitor_of(found), 4)
    assert {event.event for event in visitor} == {"profile_set_once", "$MPLaunch", "$MPShow", "PageClick"}
    assert len({event.id for event in visitor}) == 4
    assert (len(visitor) > 4) == bool(failures), "what was sent again is known again"
    assert props_of(visitor, "PageClick")["btn"] == "立即申购"


def test_posthog_node(collector: RunningCollector, sdks: Path) -> None:
    user, visitor = "user-phnode", "anon-phnode"
    with FailingFront(collector.port, ("refuse", "lose")) as front:
        run_node("posthog_node.mjs", sdks, told("PostHog, Node", front.address, "phc_TOKEN"), visitor, user)
        assert front.failed() == 2
    found = arrived(collector, f"u:{user}", 52)
    check_batch(found)
    assert len({event.id for event in found}) == 52
    assert visitor_of(found) == f"a:{visitor}"
    assert props_of(found, "$identify")["$set"] == {"姓名": "张三"}
    assert {event.lib for event in found} == {"posthog-node"}
    assert props_of(arrived(collector, f"a:{visitor}", 1), "页面点击")["按钮"] == "立即申购"


def open_page(chromium: Chromium, pages: str, **asked: str) -> None:
    """Opens the page that runs an SDK, and waits until it has told the SDK all."""
    chromium.open(f"{pages}/page.html?{urlencode(asked)}")
    chromium.wait("window.said === true", seconds=60)


@pytest.mark.parametrize(("mode", "failures"), [("image", ()), ("beacon", ()), ("ajax", ()), ("batch", ("refuse", "lose"))])
def test_sensors_in_a_page(
    collector: RunningCollector, chromium: Chromium, pages: str, mode: str, failures: tuple[Failure, ...]
) -> None:
    user = f"user-sa-{mode}-{len(failures)}"
    with FailingFront(collector.port, failures) as front:
        made = told("Sensors Analytics (神策), browser", front.address, "SA_TOKEN")
        open_page(chromium, pages, sdk="sensors", made=made, user=user, mode=mode)
        found = arrived(collector, f"u:{user}", 52)
        assert front.failed() == len(failures)
        chromium.call("Page.navigate", url="about:blank")
    check_batch(found)
    assert visitor_of(found).startswith("a:")
    assert props_of(found, "profile_set")["name"] == "张三"
    assert not [event for event in found if event.context.get("crc_ok") is False]
    clicked = props_of(arrived(collector, visitor_of(found), 1), "PageClick")
    assert clicked["btn"] == "立即申购"


@pytest.mark.parametrize(
    ("sdk", "name", "key", "identify"),
    [
        ("posthog", "PostHog, browser", "phc_TOKEN", "$identify"),
        ("segment", "Segment, browser", "WRITEKEY_seg", "identify"),
        ("rudder", "RudderStack, browser", "WRITEKEY_rud", "identify"),
    ],
)
def test_others_in_a_page(
    collector: RunningCollector, chromium: Chromium, pages: str, sdk: str, name: str, key: str, identify: str
) -> None:
    user = f"user-page-{sdk}"
    with FailingFront(collector.port, ("lose",)) as front:
        open_page(chromium, pages, sdk=sdk, made=told(name, front.address, key), user=user)
        found = arrived(collector, f"u:{user}", 51, also=(identify, BATCH))
        assert front.failed() == 1
        unknown = [(path, status) for _, path, status in front.seen if status not in (200, 204, 503)]
        assert not unknown, "the SDK asks for what is not there"
        chromium.call("Page.navigate", url="about:blank")
    check_batch(found)
    props = props_of(found, identify)
    assert (props["$set"] if sdk == "posthog" else props) == {"姓名": "张三"}
    visitor = arrived(collector, visitor_of(found), 1)
    assert props_of(visitor, "页面点击")["按钮"] == "立即申购"
    # analytics.js writes the ids anew into what it sends again: by then the visitor has logged in
    again = {event.id for event in found if event.event == "页面点击"}
    assert again <= {event.id for event in visitor}
    assert {event.event for event in found} - {identify, "页面点击"} - VIEWS == {BATCH}
