"""How the console's pages look in a real Chromium: widths, colours, languages, scales."""

from __future__ import annotations

import pytest

from sinks.api.routes import routes
from tests.sinks.chromium import Chromium
from tests.sinks.console_page import CHARTS, FILLED, NEEDED, PANELS, PLAN, READY, check, plain, scale, table
from tests.sinks.console_rig import Rig

pytestmark = NEEDED


@pytest.mark.parametrize(
    ("width", "dark", "language", "title"),
    [
        pytest.param(1280, False, "zh-CN", "今日分时活跃", id="wide-light-Chinese"),
        pytest.param(390, True, "en-US", "Today by hour", id="phone-dark-English"),
        pytest.param(1280, True, "en-US", "Today by hour", id="wide-dark-English"),
        pytest.param(390, False, "zh-CN", "今日分时活跃", id="phone-light-Chinese"),
    ],
)
def test_the_page_is_whole_in_every_width_colour_and_language(
    browser: Chromium, rig: Rig, width: int, dark: bool, language: str, title: str
) -> None:
    browser.screen(width, dark=dark, language=language)
    browser.open(rig.url + "/docs")
    browser.value("localStorage.clear()")
    browser.open(rig.url)
    browser.wait(READY)
    assert browser.value("document.getElementById('hours-title').textContent") == title
    assert browser.value("document.documentElement.lang").startswith(language[:2])
    assert browser.value("document.documentElement.dataset.theme") == ("dark" if dark else "light")
    assert browser.value("document.documentElement.scrollWidth") <= width, "nothing to scroll sideways"
    for panel in PANELS:
        box = browser.value(f"document.querySelector('[data-panel={panel}]').getBoundingClientRect().toJSON()")
        assert 0 <= box["left"] < box["right"] <= width, panel
        assert box["height"] > 60, panel
    for chart, colours in CHARTS.items():
        browser.wait(f"{FILLED.replace('CHART', chart)} >= {colours}")
    for chart in ("heat", "retention"):
        low, high = scale(browser, chart)
        assert low in ("0", "0%"), "what the palest colour stands for"
        assert plain(high) > 0, "and the strongest"
    # Light text on dark or the other way round, by a good margin.
    luminance = "((colour) => colour.match(/[0-9.]+/g).slice(0, 3).reduce((sum, one) => sum + Number(one) / 3, 0))"
    text, ground = (
        browser.value(f"{luminance}(getComputedStyle(document.body).{name})") for name in ("color", "backgroundColor")
    )
    assert (text > ground) is dark
    assert abs(text - ground) > 150
    untranslated = browser.value("[...document.querySelectorAll('[data-t]')].filter((one) => !one.textContent).length")
    assert untranslated == 0
    check(browser, rig)


#: The level texts of a chart that lie upon each other: [one, other].
COLLISIONS = """(() => {
    const chart = echarts.getInstanceByDom(document.getElementById('CHART'));
    const boxes = [];
    for (const one of chart.getZr().storage.getDisplayList(true)) {
        if (!one.style?.text || (one.transform && Math.abs(one.transform[1]) > 0.01)) continue;
        const box = one.getBoundingRect().clone();
        if (one.transform) box.applyTransform(one.transform);
        boxes.push([one.style.text, box]);
    }
    return boxes.flatMap(([text, box], at) =>
        boxes.slice(at + 1).filter(([, other]) => box.intersect(other)).map(([other]) => [text, other]));
})()"""


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_names_of_apps_do_not_lie_upon_each_other(browser: Chromium, rig: Rig, width: int) -> None:
    browser.screen(width)
    browser.open(rig.url)
    browser.wait(READY)
    browser.wait(f"{FILLED.replace('CHART', 'overlap')} >= {CHARTS['overlap']}")
    assert browser.value(COLLISIONS.replace("CHART", "overlap")) == []


def test_language_and_colours_are_chosen_and_remembered(page: Chromium, rig: Rig) -> None:
    page.value("document.getElementById('language').click()")
    assert page.value("document.getElementById('funnel-title').textContent") == "今日漏斗"
    assert page.value("document.getElementById('metric').options[0].textContent") == "日活跃 DAU"
    page.value("document.getElementById('theme').click()")
    page.value("document.getElementById('theme').click()")
    assert page.value("document.documentElement.dataset.theme") == "dark"
    page.open(rig.url)
    page.wait(READY)
    assert page.value("document.documentElement.lang + document.documentElement.dataset.theme") == "zh-CNdark"


def test_a_chart_without_its_cells_would_be_noticed(page: Chromium) -> None:
    for chart in ("heat", "retention", "overlap"):
        page.wait(f"{FILLED.replace('CHART', chart)} >= {CHARTS[chart]}")
        page.value(
            f"{{ const it = echarts.getInstanceByDom(document.getElementById('{chart}'));"
            " it.setOption({ animation: false, series: [{ data: [] }] }); it.getZr().flush(); }"
        )
        assert page.value(FILLED.replace("CHART", chart)) == 0, chart


def test_a_scale_of_colours_ends_with_the_largest_number(page: Chromium) -> None:
    page.wait(f"{FILLED.replace('CHART', 'retention')} >= 4")
    cells = [row[1:] for row in table(page, "heat")]
    assert plain(scale(page, "heat")[1]) == max(plain(cell) for row in cells for cell in row)
    kept = [row[2:] for row in table(page, "retention")]
    assert scale(page, "retention")[1] == max(
        (cell for row in kept for cell in row if cell), key=lambda one: float(one.rstrip("%"))
    )


def test_the_api_is_documented_on_a_page_made_of_openapi(browser: Chromium, rig: Rig) -> None:
    browser.screen(390, dark=True)
    browser.open(rig.url + "/docs")
    browser.wait("document.querySelectorAll('section').length > 5")
    headings = browser.value("[...document.querySelectorAll('h2')].map((one) => one.textContent)")
    assert headings == [f"GET {route.path}" for route in routes(PLAN)] + ["GET /api/v1/openapi.json"]
    assert browser.value("document.documentElement.scrollWidth") <= 390
    check(browser, rig)


def test_the_documentation_is_in_chinese_too(browser: Chromium, rig: Rig) -> None:
    document = rig.get("/api/v1/openapi.json").json()
    texts = {document["info"]["description"]}
    for operation in (path["get"] for path in document["paths"].values()):
        texts |= {operation["summary"], operation.get("description", "")}
        texts |= {one["description"] for one in operation.get("parameters", [])}
    texts |= {schema.get("description", "") for schema in document["components"]["schemas"].values()}
    wanted = {" ".join(text.split()) for text in texts} - {""}
    browser.screen(390, language="zh-CN")
    browser.open(rig.url + "/docs")
    browser.value("localStorage.clear()")
    browser.open(rig.url + "/docs")
    browser.wait("document.querySelectorAll('section').length > 5")
    assert set(browser.value("import('/docs-words.js').then(({ TEXTS }) => Object.keys(TEXTS))")) == wanted
    shown = browser.value("document.getElementById('main').innerText")
    assert [text for text in wanted if text in shown] == []
    assert "已发布的指标，可分页或导出。指标目录中的全部数值" in shown
    assert "整数 1–100" in shown
    # What is left in Latin letters are names: no two words of a sentence follow each other.
    prose = """[...document.querySelectorAll('#main p, #main h3, #main td:not(:has(code)), #main th')]
        .map((one) => one.textContent).filter((text) => /[A-Za-z]{2,} [a-z]{2,} [a-z]{2,}/.test(text))"""
    assert browser.value(prose) == []
    assert browser.value("document.documentElement.scrollWidth") <= 390
    browser.value("document.getElementById('language').click()")
    assert "Published numbers, paged or exported. Every number" in browser.value("document.getElementById('main').innerText")
    browser.value("localStorage.clear()")
    check(browser, rig)
