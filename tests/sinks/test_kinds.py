"""Where the sinks go on reading."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.contract.settings import Settings
from sinks.clickhouse.kinds import Rejected, next_offset


@pytest.mark.parametrize(("newest", "committed", "resumes"), [(9, 10, 10), (6, 10, 10), (9, 7, 7), (None, 10, 0)])
def test_rejections_whose_newest_rows_were_erased_are_not_read_again(
    demo_settings: Settings, newest: int | None, committed: int, resumes: int
) -> None:
    def answers(sql: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        return [] if newest is None else [(0, newest)]

    held = Rejected(demo_settings).held(answers, {0: committed})
    assert next_offset(held.get(0), committed, 0, atomic=False) == resumes
