"""The analysts' page explains every name there is, and is what the code says today."""

from __future__ import annotations

from sinks.contract.tables import VIEWS
from streams.contract.catalogue import CATALOGUE
from tests.make_metrics_page import GENERAL, PAGE, ROOT, render, views_of


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "make it anew: python -m tests.make_metrics_page"


def test_every_metric_and_every_view_is_explained() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for metric in CATALOGUE:
        assert f"### {metric.title} · {metric.title_zh}" in page
        assert f"`{metric.name}`" in page
    for view in VIEWS:
        assert f"| `{view.name}` |" in page


def test_every_metric_has_a_view_of_its_own() -> None:
    assert not [metric for metric, views in views_of().items() if not views]


def test_every_view_of_numbers_belongs_to_a_metric() -> None:
    shown = {view for views in views_of().values() for view in views}
    assert {view.name for view in VIEWS} - shown == set(GENERAL)


def test_the_readme_links_to_the_page() -> None:
    assert "(docs/metrics.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
