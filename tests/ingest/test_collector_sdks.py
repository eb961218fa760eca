"""Real SDKs, unchanged, against a running collector."""

from __future__ import annotations

import pytest

from ingest.contract.event import Merge
from tests.ingest.running import RunningCollector

pytestmark = [pytest.mark.broker, pytest.mark.timeout(60)]


@pytest.mark.parametrize("zipped", [False, True])
def test_segment_analytics_python(collector: RunningCollector, zipped: bool) -> None:
    from segment.analytics.client import Client

    failed: list[object] = []
    client = Client(
        "WRITEKEY_seg",
        host=f"http://127.0.0.1:{collector.port}",
        gzip=zipped,
        on_error=lambda error, _: failed.append(error),
        max_retries=1,
        upload_interval=0.05,
    )
    user = f"user-{zipped}"
    client.track(anonymous_id="anon-1", event="页面点击", properties={"按钮": "立即申购"})
    client.identify(user, {"姓名": "张三"}, anonymous_id="anon-1")
    client.alias("anon-1", user)
    for number in range(50):
        client.track(user, "批量事件", {"i": number})
    client.flush()
    client.join()
    assert failed == []
    found = [event for event in collector.events() if event.person == f"u:{user}"]
    assert len({event.id for event in found}) == len(found) == 52
    assert {event.lib for event in found} == {"analytics-python"}
    (identify,) = [event for event in found if event.type == "identify"]
    assert identify.merge == Merge(source="a:anon-1", target=f"u:{user}", how="identify")
    assert identify.props == {"姓名": "张三"}
    assert sorted(event.props["i"] for event in found if event.type == "track") == list(range(50))
    assert all(0 <= event.received - event.time < 60_000 for event in found)


# As an error the warning ends the SDK's own thread, and its close() waits for that thread for ever.
@pytest.mark.filterwarnings("ignore:isSet:DeprecationWarning")
@pytest.mark.parametrize("kind", ["DefaultConsumer", "BatchConsumer", "AsyncBatchConsumer"])
def test_sensors_analytics_sdk(collector: RunningCollector, kind: str) -> None:
    import sensorsanalytics

    consumer = getattr(sensorsanalytics, kind)(f"http://127.0.0.1:{collector.port}/sa?project=default&token=SA_TOKEN")
    sdk = sensorsanalytics.SensorsAnalytics(consumer)
    user = f"user-{kind}"
    sdk.track("anon-2", "ProductClick", {"btn": "立即申购"})
    sdk.track_signup(user, "anon-2", {"channel": "手机银行"})
    for number in range(50):
        sdk.track(user, "BatchEvent", {"i": number}, is_login_id=True)
    sdk.profile_set(user, {"name": "张三"}, is_login_id=True)
    sdk.flush()
    sdk.close()
    found = [event for event in collector.events() if event.person == f"u:{user}"]
    assert len({event.id for event in found}) == len(found) == 52
    assert {(event.protocol, event.lib) for event in found} == {("sensors", "python")}
    (signup,) = [event for event in found if event.type == "identify"]
    assert signup.merge == Merge(source="a:anon-2", target=f"u:{user}", how="track_signup")
    assert sorted(event.props["i"] for event in found if event.type == "track") == list(range(50))
    assert [event.props["name"] for event in found if event.type == "profile"] == ["张三"]
