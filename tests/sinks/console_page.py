"""The console in a real Chromium, for the tests that look at it: a filled server, a browser, and what is read off the page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from ingest.contract.settings import read_settings
from tests.conftest import DEMO
from tests.sinks.chromium import Chromium, program
from tests.sinks.console_rig import Rig, fill
from tests.sinks.embedded import embedded

#: What tests of the page need.
NEEDED = [
    pytest.mark.clickhouse,
    pytest.mark.skipif(program() is None, reason="no Chromium on this machine (Debian: apt-get install chromium)"),
]

PLAN = read_settings(DEMO.read_text(), {})
PLAN = msgspec.structs.replace(PLAN, funnels=[msgspec.structs.replace(one, by="platform") for one in PLAN.funnels])
PANELS = ("hours", "funnel", "events", "history", "heat", "retention", "overlap", "quality", "pipeline")
READY = "document.body.dataset.ready === 'yes' && document.getElementById('status').dataset.state === 'live'"
TODAY = "2026-11-21"
#: How many colours fill a chart's lines, bars or cells, on all of its canvases: those of text, axes and ground do not count.
FILLED = """(() => {
    const probe = document.createElement('canvas').getContext('2d');
    const code = (colour) => {
        probe.fillStyle = colour;
        return parseInt(probe.fillStyle.slice(1), 16);
    };
    const style = getComputedStyle(document.documentElement);
    const names = ['page', 'card', 'text', 'muted', 'line', 'grid'];
    const ground = new Set(names.map((one) => code(style.getPropertyValue('--' + one).trim())));
    const counts = new Map();
    for (const canvas of document.querySelectorAll('#CHART canvas')) {
        const copy = Object.assign(document.createElement('canvas'), { width: canvas.width, height: canvas.height });
        const read = copy.getContext('2d', { willReadFrequently: true });
        read.drawImage(canvas, 0, 0);
        const data = read.getImageData(0, 0, canvas.width, canvas.height).data;
        for (let at = 0; at < data.length; at += 4) {
            const colour = (data[at] << 16) | (data[at + 1] << 8) | data[at + 2];
            if (data[at + 3] === 255 && !ground.has(colour)) counts.set(colour, (counts.get(colour) ?? 0) + 1);
        }
    }
    return [...counts.values()].filter((pixels) => pixels >= 60).length;
})()"""
#: The texts on a chart that are wholly within it.
TEXTS = """(() => {
    const chart = echarts.getInstanceByDom(document.getElementById('CHART'));
    const found = [];
    for (const one of chart.getZr().storage.getDisplayList(true)) {
        if (one.style?.text === undefined) continue;
        const box = one.getBoundingRect().clone();
        if (one.transform) box.applyTransform(one.transform);
        const [right, bottom] = [box.x + box.width, box.y + box.height];
        if (box.x >= 0 && box.y >= 0 && right <= chart.getWidth() && bottom <= chart.getHeight()) found.push(one.style.text);
    }
    return found;
})()"""
#: chart -> how many colours fill it at least.
CHARTS = {"hours": 1, "funnel": 1, "history": 1, "heat": 4, "retention": 4, "overlap": 3}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    plan = msgspec.structs.replace(PLAN, data_dir=str(tmp_path_factory.mktemp("page") / "var"))
    with embedded(plan) as (store, client):
        made = Rig(plan, store, client)
        fill(made, plan)
        yield made
        made.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    made = Chromium(program() or "", tmp_path_factory.mktemp("chromium"))
    yield made
    made.close()


@pytest.fixture
def page(browser: Chromium, rig: Rig) -> Iterator[Chromium]:
    """The console at 1280, light, English; whatever a test does, nothing complains and nothing is asked of anybody else."""
    browser.screen(1280)
    browser.open(rig.url + "/docs")
    browser.wait("document.querySelectorAll('section').length")
    browser.value("localStorage.clear()")
    browser.open(rig.url)
    browser.wait(READY)
    yield browser
    check(browser, rig)


def check(browser: Chromium, rig: Rig) -> None:
    assert browser.complaints == []
    assert [url for url in browser.requests if not url.startswith((rig.url + "/", "data:", "about:"))] == []


def number(page: Chromium, name: str) -> str:
    return str(page.value(f"document.querySelector('[data-number={name}]').textContent"))


def table(page: Chromium, panel: str) -> list[list[str]]:
    """The body of a panel's table."""
    script = (
        f"[...document.querySelectorAll('#{panel}-table tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    found: list[list[str]] = page.value(script)
    return found


def panel_rows(panel: str) -> str:
    """A script: how many rows the body of a panel's table has."""
    return f"document.querySelectorAll('#{panel}-table tbody tr').length"


def scale(page: Chromium, chart: str) -> tuple[str, str]:
    """What the ends of a chart's scale of colours say, as far as they can be read."""
    high, low = page.value(f"echarts.getInstanceByDom(document.getElementById('{chart}')).getOption().visualMap[0].text")
    shown = page.value(TEXTS.replace("CHART", chart))
    assert {low, high} <= set(shown), f"{low} and {high} are not wholly seen among {shown}"
    return low, high


def plain(text: str) -> int:
    return int(re.sub(r"\D", "", text))


def choose(page: Chromium, select: str, value: str) -> None:
    page.value(
        f"{{ const it = document.getElementById('{select}'); it.value = '{value}'; it.dispatchEvent(new Event('change')); }}"
    )


def now(rig: Rig, app: str = "harbor", facet: str = "") -> dict[str, Any]:
    row: dict[str, Any] = rig.get(f"/api/v1/now?app={app}&facet={facet}").json()["rows"][0]
    return row
