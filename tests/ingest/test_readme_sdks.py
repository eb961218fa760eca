"""The README's Python for SDKs does what it says, with nothing changed but address and key."""

from __future__ import annotations

import re

import pytest

from tests.ingest.running import RunningCollector
from tests.ingest.sdks import README, arrived, told

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("sdk", "imported", "key", "sends"),
    [
        ("Segment, Python", "from segment.analytics import Client", "WRITEKEY_seg", 'sdk.track("{}", "paid"); sdk.flush()'),
        ("PostHog, Python", "from posthog import Posthog", "phc_TOKEN", 'sdk.capture("paid", distinct_id="{}"); sdk.flush()'),
        (
            "Sensors Analytics, Python",
            "from sensorsanalytics import *",
            "SA_TOKEN",
            'sdk.track("{}", "paid", is_login_id=True); sdk.flush(); sdk.close()',
        ),
    ],
)
def test_the_readmes_way_of_making_a_client_works(
    collector: RunningCollector, sdk: str, imported: str, key: str, sends: str
) -> None:
    user = f"readme-{key}"
    made = told(sdk, f"http://127.0.0.1:{collector.port}", key)
    exec(f"{imported}\nsdk = {made}\n{sends.format(user)}", {})  # noqa: S102 - our own page's code
    (found,) = arrived(collector, f"u:{user}", 1)
    assert found.event == "paid"


@pytest.mark.parametrize("block", [block for block in BLOCKS if "segment" in block])
def test_python_in_the_readme_runs(collector: RunningCollector, block: str) -> None:
    code = block.replace("http://127.0.0.1:8090", f"http://127.0.0.1:{collector.port}").replace("demo-harbor-key", "WRITEKEY_seg")
    exec(code, {})  # noqa: S102 - our own page's code
    (found,) = arrived(collector, "u:42", 1)
    assert (found.event, found.props) == ("pay_bill", {"amount": 12.5})
