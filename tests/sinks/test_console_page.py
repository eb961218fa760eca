"""The console in a real Chromium: what is on the page is what the API says, live, in both languages, widths and colours."""

from __future__ import annotations

import json
from datetime import date, timedelta

from deploy.rejected.mending import MENDING
from ingest.reasons import Reason
from tests.sinks.chromium import Chromium
from tests.sinks.console_page import FILLED, NEEDED, PANELS, TODAY, choose, now, number, panel_rows, plain, table
from tests.sinks.console_rig import Rig

pytestmark = NEEDED


def test_errors_and_questions_to_others_would_be_noticed(page: Chromium) -> None:
    page.value("console.error('of the test')")
    page.value("fetch('http://127.0.0.1:1/').catch(() => 0)")
    page.value("document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.foreign = 1' }))")
    assert page.complaints[0] == "of the test"
    assert sum("Content Security Policy" in one for one in page.complaints) >= 2, "the page may do neither"
    assert not page.value("window.foreign")
    page.complaints.clear()


def test_every_reason_has_words(page: Chromium) -> None:
    words = page.value("import('/words.js').then(({ WORDS }) => Object.keys(WORDS.en))")
    assert set(MENDING) | {str(reason) for reason in Reason} <= set(words)


def test_unknown_event_names_are_one_line_of_each_app(page: Chromium) -> None:
    one = {"app": "harbor", "version": "1", "property": "", "total": 9}
    asked = [
        one | {"event": "tab", "rule": "unknown_event", "count": 4},
        one | {"event": "b" * 300, "rule": "unknown_event", "count": 3},
        one | {"event": "pay", "rule": "type", "property": "amount", "count": 5},
        one | {"event": "tab", "rule": "unknown_event", "count": 1, "app": "rural"},
    ]
    found = page.value(f"import('/health.js').then(({{ lump }}) => lump({json.dumps(asked)}))")
    assert [(row["app"], row["event"], row["count"], row.get("names")) for row in found] == [
        ("harbor", "", 7, 2),
        ("harbor", "pay", 5, None),
        ("rural", "tab", 1, 1),
    ]


def test_the_two_languages_have_the_same_words(page: Chromium) -> None:
    script = "import('/words.js').then(({ WORDS }) => [Object.keys(WORDS.en).sort(), Object.keys(WORDS.zh).sort()])"
    english, chinese = page.value(script)
    assert english == chinese


# --- numbers ------------------------------------------------------------------------------------------------------------


def test_the_tiles_are_what_the_api_says(page: Chromium, rig: Rig) -> None:
    page.wait(f"document.querySelector('[data-number=active_day]').textContent === '{now(rig)['active_day']}'")
    row = now(rig)
    for name in ("active_5m", "active_30m", "active_hour", "active_day", "active_month"):
        assert plain(number(page, name)) == row[name], name
    assert number(page, "stickiness") == f"{row['active_day'] / row['active_30d']:.1%}"
    assert number(page, "launches_per_user") == f"{row['launches'] / row['active_day']:.2f}"
    assert number(page, "minutes_per_user") == f"{row['usage_seconds'] / 60 / row['active_day']:.2f}"
    assert number(page, "peak").startswith("10:00")


def test_charts_have_tables_with_the_apis_numbers(page: Chromium, rig: Rig) -> None:
    day = f"from={TODAY}&to={TODAY}"
    hours = rig.get(f"/api/v1/metrics?metric=active_users&app=harbor&facet=&window=hour&{day}").json()["rows"]
    shown = table(page, "hours")
    assert [plain(row[1]) for row in shown[:16]] == [row["value"] for row in hours]
    assert [row[1] for row in shown[16:]] == ["–"] * 8, "hours to come have no number"
    assert all(plain(row[2]) > 0 for row in shown)
    funnel = rig.get(f"/api/v1/metrics?metric=funnel_users&app=harbor&{day}").json()["rows"]
    whole = [row["value"] for row in funnel if row["facet"].count(":") == 1]
    assert [plain(row[1]) for row in table(page, "funnel")] == whole
    events = rig.get("/api/v1/events/recent?app=harbor&limit=8").json()["top"]
    assert [(row[0], plain(row[2])) for row in table(page, "events")] == [(one["event"], one["count"]) for one in events]
    history = rig.get("/api/v1/metrics?metric=active_users&app=harbor&facet=").json()["rows"]
    assert [(row[0], plain(row[1])) for row in table(page, "history")] == [
        (row["day"], row["value"]) for row in reversed(history)
    ]
    kept = rig.get("/api/v1/metrics?metric=retained_users&app=harbor&from=2026-11-10&to=2026-11-10&facet=*").json()["rows"]
    by_facet = {row["facet"]: row["value"] for row in kept}
    (cohort,) = [row for row in table(page, "retention") if row[0] == "2026-11-10"]
    assert plain(cohort[1]) == by_facet["d0"]
    assert cohort[2] == f"{by_facet['d1'] / by_facet['d0']:.1%}".replace(".0%", "%")
    assert cohort[11] != "", "ten days after it was yesterday"
    assert cohort[12] == "", "eleven days after it is today, which is not over"
    assert [row[0] for row in table(page, "retention")][:: len(table(page, "retention")) - 1] == ["2026-11-19", "2026-10-21"]
    assert table(page, "retention")[-1][31] != "", "thirty days after the first of them was yesterday"
    both = rig.get("/api/v1/metrics?metric=overlap_users&app=harbor&facet=app:rural").json()["rows"][0]["value"]
    assert plain(table(page, "overlap")[0][3].split("(")[0]) == both
    assert [plain(row[2]) for row in table(page, "quality")] == [12, 3, 11]
    violations = page.value("document.getElementById('violations').textContent")
    assert violations == "complete_transfer 9.2.0: amount wrong type Harbor Bank · 35.48%11"
    assert len(table(page, "heat")) == 7


def test_a_funnel_is_broken_down_by_a_segment(page: Chromium, rig: Rig) -> None:
    assert page.value("[...document.getElementById('funnel-by').options].map((one) => one.textContent)") == [
        "All users",
        "By Platform",
    ]
    choose(page, "funnel-by", "by")
    page.wait("document.querySelectorAll('#funnel-table thead th')[1].textContent === 'ios'")
    heads = page.value("[...document.querySelectorAll('#funnel-table thead th')].map((one) => one.textContent)")
    assert heads == ["Step", "ios", "android", "harmony"]
    login = table(page, "funnel")[1]
    assert login == ["login", "180 (60%)", "120 (60%)", "36 (60%)"]
    page.wait(f"{FILLED.replace('CHART', 'funnel')} >= 3")
    choose(page, "funnel-by", "")
    page.wait("document.querySelectorAll('#funnel-table tbody tr')[1].cells[1].textContent.length === 3")


def test_what_happens_is_on_the_page_without_a_reload(page: Chromium, rig: Rig) -> None:
    page.value("window.sameDocument = true")
    before = now(rig)
    rig.put("active_users", before["active_5m"] + 31, window="5m")
    rig.put("active_users", 4321, window="hour", day=date.fromisoformat(TODAY), hour=15)
    rig.put("funnel_users", 999, facet="transfer:2")
    rig.land()
    rig.events("brand_new_event", 500, seconds_ago=1)
    page.wait(f"document.querySelector('[data-number=active_5m]').textContent === '{before['active_5m'] + 31}'", 5)
    page.wait("document.querySelector('#hours-table tbody').rows[15].cells[1].textContent === '4,321'", 8)
    page.wait("document.querySelector('#funnel-table tbody').rows[1].cells[1].textContent === '999'", 8)
    page.wait("document.querySelector('#events li .name').textContent.startsWith('brand_new_event')", 12)
    assert page.value("window.sameDocument")
    rig.put("active_users", before["active_5m"], window="5m")
    rig.land()


def test_another_app_and_facet_have_their_own_numbers(page: Chromium, rig: Rig) -> None:
    choose(page, "app", "rural")
    page.wait(f"document.querySelector('[data-number=active_day]').textContent === '{now(rig, 'rural')['active_day']}'")
    choose(page, "app", "harbor")
    choose(page, "facet", "platform:ios")
    ios = now(rig, "harbor", "platform:ios")
    page.wait(f"document.querySelector('[data-number=active_day]').textContent === '{ios['active_day']}'")
    assert number(page, "launches_per_user") == "–"
    page.wait(f"document.querySelector('#history-table tbody').rows[0].cells[1].textContent === '{ios['active_day']}'")
    assert page.value("location.search") == "?app=harbor&facet=platform%3Aios", "a link to it can be sent"
    choose(page, "app", "all")
    page.wait("document.getElementById('facet').value === ''")
    assert page.value("[...document.getElementById('facet').options].map((one) => one.value)") == [
        "",
        "activity:transacting",
        "activity:paying",
    ]


def test_numbers_of_another_app_go_at_once_and_a_panel_says_itself_that_it_could_not_be_read(page: Chromium, rig: Rig) -> None:
    asked = ("hours", "history", "heat", "retention", "overlap")
    page.call("Network.setBlockedURLs", urls=["*/api/v1/metrics*"])
    shown = """[...document.querySelectorAll('[data-panel]')].filter((one) => one.dataset.panel !== 'pipeline').map((one) => [
        one.ariaBusy, one.querySelectorAll('tbody tr').length, getComputedStyle(one.querySelector(':scope > div')).visibility
    ])"""
    choose(page, "app", "rural")
    for panel in asked:
        state = f"document.querySelector('[data-panel={panel}]')"
        page.wait(f"{state}.dataset.state === 'failed' && {state}.querySelector('.fault').textContent.includes('fetch')")
        assert table(page, panel) == [], "no numbers of the app before"
    assert page.value("document.querySelector('[data-panel=events]').dataset.state") == "", "what was read has no mark"
    assert not page.value("document.getElementById('message').hidden")
    page.call("Network.setBlockedURLs", urls=[])
    choose(page, "app", "harbor")
    for panel in asked:
        page.wait(f"document.querySelector('[data-panel={panel}]').dataset.state === '' && {panel_rows(panel)} > 0")
    assert page.value(
        "document.getElementById('message').hidden && [...document.querySelectorAll('.fault')].every((o) => o.hidden)"
    )
    page.value("void (window.before = document.getElementById('app'))")
    change = "before.value = 'rural', before.dispatchEvent(new Event('change'))"
    assert page.value(f"({change}, {shown})") == [["true", 0, "hidden"]] * 8
    page.wait("document.querySelector('[data-panel=history]').dataset.state === ''")
    page.complaints[:] = [one for one in page.complaints if "ERR_BLOCKED_BY_CLIENT" not in one]


def test_panels_say_which_part_of_the_choice_they_do_not_follow(page: Chromium) -> None:
    def note(panel: str) -> str:
        return str(page.value(f"document.getElementById('{panel}-note').textContent"))

    assert page.value("getComputedStyle(document.querySelector('[data-panel=funnel]')).display") != "none"
    assert "any activity" not in "".join(map(note, PANELS))
    choose(page, "facet", "platform:ios")
    choose(page, "metric", "launches_ratio")
    for panel in ("funnel", "events", "history", "retention", "overlap"):
        page.wait(f"document.getElementById('{panel}-note').textContent.endsWith('any activity')")
    choose(page, "metric", "active_users:day")
    page.wait("document.getElementById('history-note').textContent === 'Daily active (DAU) · today is still filling'")
    for panel in ("overlap", "quality", "pipeline"):
        assert "all apps" in note(panel), panel
    choose(page, "app", "pioneer")
    page.wait(f"{panel_rows('history')} > 0")
    assert page.value("getComputedStyle(document.querySelector('[data-panel=funnel]')).display") == "none", "it has no funnel"
    choose(page, "app", "all")
    page.wait(f"{panel_rows('funnel')} > 0")
    assert note("funnel") == "Transfer · Harbor Bank", "a group has those of its apps"


def test_history_has_gaps_where_there_is_no_number(page: Chromium, rig: Rig) -> None:
    first, last = (date.fromisoformat(TODAY) - timedelta(days=ago) for ago in (20, 18))
    for day in (first, last):
        rig.put("active_users", 7, facet="platform:harmony", day=day)
    rig.land()
    choose(page, "facet", "platform:harmony")
    page.wait(f"{panel_rows('history')} > 0")
    shown = table(page, "history")
    assert [row[0] for row in shown] == [(first + timedelta(days=more)).isoformat() for more in range(20, -1, -1)]
    assert [row[1] for row in shown[-3:]] == ["7", "–", "7"]
    axis = page.value("echarts.getInstanceByDom(document.getElementById('history')).getOption().xAxis[0].data")
    assert axis == [(date.fromisoformat(TODAY) - timedelta(days=ago)).isoformat() for ago in range(29, -1, -1)]
    choose(page, "facet", "")
    choose(page, "metric", "active_users:month")
    page.wait(f"{panel_rows('history')} === 2")
    choose(page, "metric", "active_users:day")


def test_history_shows_ratios_and_all_apps_side_by_side(page: Chromium, rig: Rig) -> None:
    choose(page, "metric", "launches_ratio")
    page.wait("document.querySelector('#history-table tbody').rows[1]?.cells[1].textContent === '2.30'")
    choose(page, "metric", "active_users:day")
    page.value("document.getElementById('compare').click()")
    page.wait("document.querySelector('#history-table thead').rows[0].cells.length === 5")


# --- for everybody ------------------------------------------------------------------------------------------------------


def test_it_can_be_used_by_keyboard_and_read_aloud(page: Chromium) -> None:
    page.value("document.body.focus()")
    page.press("Tab")
    assert page.value("document.activeElement.className") == "skip"
    assert page.value("document.activeElement.getBoundingClientRect().left") >= 0, "the link to skip to the numbers is seen now"
    page.press("Enter")
    assert page.value("document.activeElement.id") == "main"
    for _ in range(3):
        page.press("Tab")
    assert page.value("document.activeElement.closest('main') !== null")
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    found = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node.get("ignored")]
    roles = [role for role, _ in found]
    assert {"banner", "navigation", "main", "contentinfo", "region"} <= set(roles)
    for role in ("combobox", "button", "image", "region", "navigation", "link", "checkbox"):
        assert all(name for one, name in found if one == role), f"every {role} has a name"
    images = [name for role, name in found if role == "image"]
    assert any(name.startswith("Today by hour") for name in images)
    for chart in ("hours", "funnel", "history", "heat", "retention", "overlap"):
        assert page.value(f"document.querySelector('#{chart}-table').rows.length") > 1, f"{chart} has a table"


def test_a_lost_connection_is_said_and_mended_by_itself(page: Chromium, rig: Rig) -> None:
    rig.console.ending.set()
    page.wait("document.getElementById('status').dataset.state === 'lost'")
    rig.console.ending.clear()
    page.wait("document.getElementById('status').dataset.state === 'live'", 15)
