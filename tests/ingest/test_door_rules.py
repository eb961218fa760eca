"""The rules of the door: keys, buckets, addresses behind proxies, origins, sizes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.addresses import bucket_name, client_address, read_networks
from ingest.buckets import Buckets
from ingest.contract.errors import ConfigError
from ingest.contract.plan import App, Plan
from ingest.contract.settings import CollectorSettings, Settings, read_settings
from ingest.intake import Request, take
from ingest.keys import Keys, KeyUse
from ingest.origins import ALLOWED_HEADERS, Origins
from ingest.policy import policy_of
from ingest.reasons import Reason
from ingest.routes import ROUTES
from tests.ingest.helpers import LIMITS, NOW, events, post, rejections

APPS = [App(id="bank", write_keys=["new-key"], revoked_keys=["old-key"]), App(id="shop", write_keys=["shop-key"])]
PROXIES = read_networks(["10.0.0.0/8", "192.168.1.7", "2001:db8:1::/48"])


class TestKeys:
    def test_the_first_key_that_counts_decides(self) -> None:
        keys = Keys(APPS, b"secret")
        assert keys.app_of("", "nobody", "old-key", "shop-key", "new-key") == "shop"
        assert keys.app_of("old-key") == keys.app_of("") == keys.app_of() == ""
        assert (keys.owner_of("old-key"), keys.owner_of("x")) == ("bank", "")

    def test_a_revoked_key_is_told_from_one_that_never_was(self) -> None:
        keys = Keys(APPS)
        assert keys.refusal("x", "old-key").reason is Reason.REVOKED_KEY
        assert keys.refusal("x", "").reason is Reason.UNKNOWN_KEY

    def test_no_key_lies_in_memory_and_another_salt_gives_other_digests(self) -> None:
        keys = Keys(APPS, b"one")
        assert "key" not in repr(vars(keys))
        assert not vars(keys)["_known"].keys() & vars(Keys(APPS, b"two"))["_known"].keys()

    def test_what_a_request_owes_goes_to_the_keys_that_it_named(self) -> None:
        keys = Keys(APPS)
        use = KeyUse(keys)
        assert use.charge(5) == {b"": 5}
        assert use.charge(5, "nobody's") == {b"": 5}
        (named,) = use.charge(5, "nobody's", "new-key")
        assert named, "a request that could not be read is owed by the key that it came with"
        use.app_of("new-key")
        assert list(use.charge(50).values()) == [50]
        for _ in range(3):
            use.app_of("shop-key")
        assert sorted(use.charge(50).values()) == [1, 3]

    def test_a_key_may_not_be_revoked_and_in_use(self) -> None:
        for apps in (
            [App(id="a", write_keys=["same"], revoked_keys=["same"])],
            [App(id="a", write_keys=["same"]), App(id="b", revoked_keys=["same"])],
        ):
            with pytest.raises(ConfigError, match=r"revoked and still in use"):
                Plan(apps=apps)

    @pytest.mark.parametrize(
        ("path", "body", "key"),
        [
            ("/v1/batch", {"batch": [{"type": "track", "event": "e", "userId": "1"}]}, "old-key"),
            ("/v1/batch", {"batch": [{"type": "track", "event": "e", "userId": "1"}], "writeKey": "old-key"}, ""),
            ("/v1/t", {"event": "e", "userId": "1", "writeKey": "old-key"}, ""),
            ("/sa", {"type": "track", "event": "e", "distinct_id": "1", "time": 1}, "old-key"),
            ("/sa", {"type": "track", "event": "e", "distinct_id": "1", "time": 1, "token": "old-key"}, "shop-key"),
            ("/v1/events", {"event": "e", "user_id": "1"}, "old-key"),
        ],
    )
    def test_what_comes_with_a_revoked_key_is_set_aside_as_that(self, path: str, body: dict[str, object], key: str) -> None:
        headers = {"X-Write-Key": key} if key else {}
        request = Request("POST", path, "", headers, json.dumps(body).encode())
        found = take(request, ROUTES[path], Keys(APPS), LIMITS, NOW)
        assert [(one.reason, one.app) for one in found.refused] == [(Reason.REVOKED_KEY, "bank")]
        if path == "/v1/events":
            assert (found.answer.status, found.rejected) == (401, [])
        else:
            (kept,) = rejections(found)
            assert (found.answer.status, kept.reason, kept.app) == (200, "revoked_key", "bank")


class TestBuckets:
    def test_a_burst_at_once_then_the_rate(self) -> None:
        buckets = Buckets(rate=10, burst=20)
        assert [buckets.take("a", 10, 0.0) for _ in range(3)] == [0.0, 0.0, 1.0]
        assert buckets.take("a", 10, 0.99) == pytest.approx(0.01)
        assert buckets.take("a", 10, 1.0) == 0.0
        assert buckets.take("b", 20, 1.0) == 0.0

    def test_more_than_the_burst_passes_from_a_full_bucket_and_is_owed(self) -> None:
        buckets = Buckets(rate=10, burst=20)
        assert buckets.take("a", 100, 0.0) == 0.0
        assert buckets.take("a", 1, 0.0) == pytest.approx(8.1)
        assert buckets.take("a", 1, 8.2) == 0.0

    def test_several_are_taken_from_together_or_not_at_all(self) -> None:
        buckets = Buckets(rate=1, burst=2)
        assert buckets.take_all({b"a": 2, b"b": 1}, 0.0) == 0.0
        assert buckets.take_all({b"a": 1, b"b": 1}, 0.0) == 1.0
        assert buckets.take(b"b", 1, 0.0) == 0.0

    def test_rate_0_lets_everything_pass_and_remembers_nothing(self) -> None:
        buckets = Buckets(rate=0)
        assert not buckets
        assert not any(buckets.take(number, 1e9, 0.0) for number in range(100))
        assert len(buckets) == 0

    def test_memory_is_bounded_and_those_who_keep_sending_stay_limited(self) -> None:
        buckets = Buckets(rate=1, burst=1, capacity=100)
        for number in range(10_000):
            buckets.take("busy", 1, 0.0)
            buckets.take(number, 1, 0.0)
            assert len(buckets) <= 100
        assert buckets.take("busy", 1, 0.0) > 0

    @given(st.floats(0.1, 1000), st.floats(1, 1000), st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 50)), max_size=30))
    def test_nobody_gets_more_than_burst_and_rate_and_a_wait_is_long_enough(
        self, rate: float, burst: float, steps: list[tuple[float, float]]
    ) -> None:
        buckets = Buckets(rate, burst)
        now = taken = 0.0
        most = burst
        for pause, amount in steps:
            now += pause
            most = max(most, amount)
            wait = buckets.take("a", amount, now)
            if not wait:
                taken += amount
            else:
                assert buckets.wait_s("a", amount, now + wait) <= 1e-6
            assert taken <= (most + rate * now) * (1 + 1e-6)


class TestAddresses:
    @pytest.mark.parametrize(
        ("peer", "forwarded", "address"),
        [
            ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # no proxy of ours says that
            ("10.0.0.1", [], "10.0.0.1"),
            ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),  # what stands on the left, anybody may have written
            ("10.0.0.1", ["6.6.6.6", "198.51.100.1, 10.9.9.9"], "198.51.100.1"),
            ("10.0.0.1", ["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
            ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", ["198.51.100.1, , 10.0.0.3"], "10.0.0.3"),
            ("192.168.1.7", ["198.51.100.1:4711"], "198.51.100.1"),
            ("::ffff:10.0.0.1", ["[2a00::1]:80"], "2a00::1"),
            ("2001:db8:1::5", ["2a00::1%eth0"], "2a00::1"),
            ("10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
            ("", ["198.51.100.1"], ""),
        ],
    )
    def test_the_right_most_address_that_no_trusted_proxy_has(self, peer: str, forwarded: list[str], address: str) -> None:
        assert client_address(peer, forwarded, "X-Forwarded-For", PROXIES) == address

    @pytest.mark.parametrize(
        ("value", "address"),
        [
            ("for=198.51.100.1;proto=https", "198.51.100.1"),
            ('proto=https;For="[2a00::1]:80"', "2a00::1"),
            ("for=6.6.6.6, for=198.51.100.1", "198.51.100.1"),
            ("for=_hidden", "10.0.0.1"),
            ("proto=https", "10.0.0.1"),
        ],
    )
    def test_the_header_of_rfc_7239(self, value: str, address: str) -> None:
        assert client_address("10.0.0.1", [value], "Forwarded", PROXIES) == address

    @given(st.text(), st.lists(st.text(), max_size=4), st.sampled_from(["X-Forwarded-For", "Forwarded"]))
    def test_any_text_is_borne(self, peer: str, forwarded: list[str], header: str) -> None:
        assert isinstance(client_address(peer, forwarded, header, PROXIES), str)
        assert isinstance(client_address("10.0.0.1", forwarded, header, PROXIES), str)

    def test_an_ipv6_client_is_its_network(self) -> None:
        assert bucket_name("2a00:1:2:3:4::5") == bucket_name("2a00:1:2:3::9") == "2a00:1:2:3::/64"
        assert bucket_name("198.51.100.1") == "198.51.100.1"


class TestOrigins:
    def test_any(self) -> None:
        found = Origins(["*"]).headers("https://x.example", ("POST",))
        assert found["Access-Control-Allow-Origin"] == "https://x.example"
        assert found["Access-Control-Allow-Headers"] == ALLOWED_HEADERS
        assert found["Access-Control-Allow-Methods"] == "POST, OPTIONS"
        assert found["Vary"] == "Origin"

    def test_a_list(self) -> None:
        origins = Origins(["https://www.bank.example", "https://*.shop.example:8443", "null"])
        for good in ("", "https://www.bank.example", "HTTPS://WWW.bank.example", "https://a.b.shop.example:8443", "null"):
            assert origins.allow(good), good
        for bad in (
            *("http://www.bank.example", "https://bank.example", "https://www.bank.example:444", "https://shop.example:8443"),
            *("https://evilshop.example:8443", "https://www.bank.example.evil.example", "https://.shop.example:8443", "x"),
        ):
            assert not origins.allow(bad), bad
            assert origins.headers(bad, ("POST",)) == {"Vary": "Origin"}

    @pytest.mark.parametrize("bad", ["", "www.bank.example", "https://bank.example/path", "https://*", "https://a.*.example"])
    def test_what_is_no_origin_is_an_error(self, bad: str) -> None:
        settings = read_settings(f"[collector]\ncors_origins = {json.dumps([bad])}", {})
        with pytest.raises(ConfigError, match="cors_origins"):
            policy_of(settings, b"")

    def test_a_page_that_may_not_send_is_set_aside(self) -> None:
        headers = {"Origin": "https://evil.example", "X-Write-Key": "shop-key"}
        for path, status in (("/v1/t", 200), ("/sa", 200), ("/v1/events", 403)):
            request = Request("POST", path, "", headers, b'{"event":"e","userId":"1"}', foreign=True)
            found = take(request, ROUTES[path], Keys(APPS), LIMITS, NOW)
            assert (found.answer.status, [one.reason for one in found.refused]) == (status, [Reason.BAD_ORIGIN])
            assert found.refused[0].app == "shop"
            assert len(found.rejected) == (status == 200)


def test_a_proxy_that_is_no_network_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r'trusted_proxies has "10\.0\.0\.1/8"'):
        policy_of(read_settings('[collector]\ntrusted_proxies = ["10.0.0.1/8"]', {}), b"")
    assert policy_of(Settings(), b"").proxies == ()


PAGE = (Path(__file__).parent.parent.parent / "docs" / "door.md").read_text(encoding="utf-8")


def test_the_page_on_the_door_tells_the_truth() -> None:
    (text,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    policy = policy_of(read_settings(text, {}), b"")
    assert policy.keys.owner_of("harbor-2025") == "harbor"
    assert policy.by_key
    assert policy.by_address
    fields = {one.name: one.default for one in msgspec.structs.fields(CollectorSettings)}
    named = set(re.findall(r"`((?:max|key|address|head|idle|body|cors|trusted|forwarded)_[a-z_]+)`", PAGE))
    assert named <= fields.keys()
    door = {name for name in fields if re.match(r"max_|key_|address_|head_|idle_|body_|cors_|trusted_|forwarded_", name)}
    assert door <= named | {"forwarded_header"}, "a setting that the page does not have"
    shown = {
        "max_batch_events": "1000",
        "max_properties": "512",
        "max_name_chars": "256",
        "max_value_chars": "65536",
        "max_connections": "4096",
        "body_bytes_per_s": "4096",
    }
    assert {name: str(fields[name]) for name in shown} == shown
    assert set(re.findall(r"`([a-z]+_[a-z]+)`", PAGE[PAGE.index("| kept as |") : PAGE.index("At `/v1/events`")])) <= set(Reason)
    assert {reason for reason in ("revoked_key", "bad_origin") if f"`{reason}`" in PAGE} == {"revoked_key", "bad_origin"}


GOOD = {"event": "good", "user_id": "1"}
SMALL = LIMITS._replace(properties=5, name_chars=20, value_chars=40)


@pytest.mark.parametrize(
    ("props", "reason", "path"),
    [
        ({f"p{number}": 1 for number in range(6)}, Reason.TOO_MANY, "$[1].props"),
        ({"x" * 21: 1}, Reason.TOO_LARGE, "$[1].props.xxxxx"),
        ({'"' * 21: 1}, Reason.TOO_LARGE, "$[1].props."),
        ({"a": "语" * 41}, Reason.TOO_LARGE, "$[1].props.a"),
        ({"a": '"' * 41}, Reason.TOO_LARGE, "$[1].props.a"),
        ({"a": [1, {"b": "y" * 41}]}, Reason.TOO_LARGE, "$[1].props.a[1].b"),
        ({"a": ["y" * 41]}, Reason.TOO_LARGE, "$[1].props.a[0]"),
    ],
)
def test_an_event_that_is_too_much_is_set_aside_and_its_neighbours_count(
    props: dict[str, object], reason: Reason, path: str
) -> None:
    found = post("/v1/events", [GOOD, GOOD | {"props": props}, GOOD], limits=SMALL)
    assert len(events(found)) == 2
    (refused,) = found.refused
    assert refused.reason is reason
    assert f"- at `{path}" in refused.detail
    (kept,) = rejections(found)
    assert json.loads(kept.payload)["props"] == props


@given(st.recursive(st.text(max_size=60), lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=30), inner)))
def test_sizes_are_told_the_same_by_a_look_at_the_bytes_and_at_the_whole(props: object) -> None:
    """The quick look may only pass over events that are within the limits."""
    limits = SMALL._replace(properties=8)

    def too_much(value: object) -> bool:
        if isinstance(value, dict):
            return len(value) > 8 or any(len(name) > 20 for name in value) or any(map(too_much, value.values()))
        return any(map(too_much, value)) if isinstance(value, list) else isinstance(value, str) and len(value) > 40

    event = GOOD | {"props": {"p": props}}
    raw = json.dumps(event, ensure_ascii=False).encode("utf-8", "surrogatepass")
    found = post("/v1/events", raw, limits=limits)
    assert bool(found.refused) == too_much(event)


def test_settings_have_a_limit_for_each() -> None:
    text = "[collector]\nmax_properties = 1\nmax_name_chars = 2\nmax_value_chars = 3"
    limits = policy_of(read_settings(text, {}), b"").limits
    assert (limits.properties, limits.name_chars, limits.value_chars) == (1, 2, 3)
    with pytest.raises(ConfigError, match="max_properties"):
        read_settings("[collector]\nmax_properties = 0", {})
    assert msgspec.to_builtins(Settings().collector)["key_events_per_s"] == 0
