"""Real SDKs of servers, unchanged, against a running collector, also behind a door that fails first."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.contract.event import Merge
from tests.ingest.front import FailingFront, Failure
from tests.ingest.running import RunningCollector
from tests.ingest.sdks import BATCH, arrived, check_batch

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]


@pytest.mark.parametrize(("zipped", "failures"), [(False, ()), (True, ()), (True, ("refuse", "lose"))])
def test_segment_analytics_python(collector: RunningCollector, zipped: bool, failures: tuple[Failure, ...]) -> None:
    from segment.analytics.client import Client

    failed: list[object] = []
    user, visitor = f"user-{zipped}-{len(failures)}", f"anon-{zipped}-{len(failures)}"
    with FailingFront(collector.port, failures) as front:
        client = Client(
            "WRITEKEY_seg",
            host=front.address,
            gzip=zipped,
            on_error=lambda error, _: failed.append(error),
            upload_interval=0.5,
        )
        client.track(anonymous_id=visitor, event="页面点击", properties={"按钮": "立即申购"})
        client.identify(user, {"姓名": "张三"}, anonymous_id=visitor)
        client.alias(visitor, user)
        for number in range(50):
            client.track(user, BATCH, {"i": number})
        client.flush()
        client.join()
        assert front.failed() == len(failures)
    assert failed == []
    found = arrived(collector, f"u:{user}", 52)
    check_batch(found)
    assert len({event.id for event in found}) == 52
    both = [*found, *arrived(collector, f"a:{visitor}", 1)]
    assert (len(both) > 53) == ("lose" in failures), "what was sent again is known again"
    assert {event.lib for event in found} == {"analytics-python"}
    identify = next(event for event in found if event.type == "identify")
    assert identify.merge == Merge(source=f"a:{visitor}", target=f"u:{user}", how="identify")
    assert identify.props == {"姓名": "张三"}
    assert all(0 <= event.received - event.time < 300_000 for event in found)


@pytest.mark.parametrize(("form", "failures"), [("batch", ("refuse", "lose")), ("v1", ("lose",)), ("zstd", ("refuse", "lose"))])
def test_posthog_python(collector: RunningCollector, form: str, failures: tuple[Failure, ...]) -> None:
    from posthog import Posthog

    failed: list[object] = []
    user = f"user-posthog-{form}"
    with FailingFront(collector.port, failures) as front:
        forms: dict[str, dict[str, Any]] = {
            "batch": {"gzip": True},
            "v1": {"capture_mode": "v1"},
            "zstd": {"capture_mode": "v1", "capture_compression": "zstd"},
        }
        client = Posthog(
            "phc_TOKEN",
            host=front.address,
            on_error=lambda error, _: failed.append(error),
            flush_interval=0.5,
            disable_geoip=True,
            **forms[form],
        )
        click = {"按钮": "立即申购", "$process_person_profile": False}
        client.capture("页面点击", distinct_id=f"anon-{form}", properties=click)
        client.capture("$identify", distinct_id=user, properties={"$anon_distinct_id": f"anon-{form}", "$set": {"姓名": "张三"}})
        client.alias(f"anon-{form}", user)
        client.set(distinct_id=user, properties={"level": 3})
        for number in range(50):
            client.capture(BATCH, distinct_id=user, properties={"i": number})
        client.flush()
        client.shutdown()
        assert front.failed() == len(failures)
        assert front.encodings == {{"batch": "gzip", "v1": "", "zstd": "zstd"}[form]}
    assert failed == []
    found = arrived(collector, f"u:{user}", 53)
    check_batch(found)
    assert len({event.id for event in found}) == 53
    assert {(event.protocol, event.lib) for event in found} == {("posthog", "posthog-python")}
    merges = {event.merge for event in found if event.merge}
    assert {(merge.source, merge.target) for merge in merges} == {(f"a:anon-{form}", f"u:{user}")}
    assert next(event.props["$set"] for event in found if event.event == "$set") == {"level": 3}
    (click_event,) = {event.id: event for event in arrived(collector, f"a:anon-{form}", 1)}.values()
    assert click_event.props["按钮"] == "立即申购"


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
    found = arrived(collector, f"u:{user}", 52)
    assert len({event.id for event in found}) == len(found) == 52
    assert {(event.protocol, event.lib) for event in found} == {("sensors", "python")}
    (signup,) = [event for event in found if event.type == "identify"]
    assert signup.merge == Merge(source="a:anon-2", target=f"u:{user}", how="track_signup")
    assert sorted(event.props["i"] for event in found if event.type == "track") == list(range(50))
    assert [event.props["name"] for event in found if event.type == "profile"] == ["张三"]


@pytest.mark.parametrize("failure", ["refuse", "lose"])
def test_sensors_batches_are_kept_by_the_sdk_until_the_next_flush(collector: RunningCollector, failure: Failure) -> None:
    import sensorsanalytics
    from sensorsanalytics import SensorsAnalyticsNetworkException

    user = f"user-again-{failure}"
    with FailingFront(collector.port, (failure,)) as front:
        sdk = sensorsanalytics.SensorsAnalytics(
            sensorsanalytics.BatchConsumer(f"{front.address}/sa?project=default&token=SA_TOKEN", max_size=50)
        )
        for number in range(49):
            sdk.track(user, "BatchEvent", {"i": number}, is_login_id=True)
        with pytest.raises(SensorsAnalyticsNetworkException):
            sdk.track(user, "BatchEvent", {"i": 49}, is_login_id=True)  # the batch is full
        sdk.flush()
        sdk.close()
    found = arrived(collector, f"u:{user}", 50)
    assert sorted({event.id: event.props["i"] for event in found}.values()) == list(range(50))
    assert len(found) == (100 if failure == "lose" else 50)


def test_sensors_default_consumer_leaves_it_to_the_caller_to_send_again(collector: RunningCollector) -> None:
    import sensorsanalytics
    from sensorsanalytics import SensorsAnalyticsNetworkException

    with FailingFront(collector.port, ("refuse",)) as front:
        sdk = sensorsanalytics.SensorsAnalytics(
            sensorsanalytics.DefaultConsumer(f"{front.address}/sa?project=default&token=SA_TOKEN")
        )
        with pytest.raises(SensorsAnalyticsNetworkException):
            sdk.track("user-default", "Paid", {"i": 0}, is_login_id=True)
        sdk.track("user-default", "Paid", {"i": 1}, is_login_id=True)
        sdk.close()
    (found,) = arrived(collector, "u:user-default", 1)
    assert found.props["i"] == 1
