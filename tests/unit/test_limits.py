"""What a tenant may send: rules from a file, token buckets, exact counts of series, attribute keys checked occasionally."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client import CollectorRegistry

from services.ingest.limits.bucket import TokenBucket
from services.ingest.limits.keys import KeyWatch
from services.ingest.limits.rules import Limits, LimitSettings, parse_limits
from services.ingest.limits.series import SeriesLimiter
from services.ingest.limits.tenants import TenantLimits
from tael.errors import BadSettings, Overloaded, Rejected
from tael.model.series import Labels, labels_of
from tael.otlp.keys import attribute_keys
from tests.support.otlp import request_of

EVERYBODY = Limits(bytes_per_second=1000, max_series=10)


def test_a_file_overrides_what_it_names_and_leaves_the_rest() -> None:
    found = parse_limits('{"shop": {"bytes_per_second": "2KiB", "burst_seconds": 2}, "bank": {"max_series": 0}}', EVERYBODY)
    assert found["shop"] == Limits(bytes_per_second=2048, burst_seconds=2, max_series=10)
    assert found["bank"] == Limits(bytes_per_second=1000)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not valid JSON"),
        ("[]", "is not a JSON object"),
        ('{"a/b": {}}', "'a/b' is not a valid tenant name"),
        ('{"a": {"max_serie": 1}}', r"a\.max_serie: .*accepted: bytes_per_second, items_per_second"),
        ('{"a": {"max_series": -1}}', r"a\.max_series"),
        ('{"a": {"bytes_per_second": "many"}}', r"a\.bytes_per_second"),
        ('{"a": 5}', "a: "),
    ],
)
def test_a_file_with_a_mistake_is_refused_by_its_place(text: str, words: str) -> None:
    with pytest.raises(Rejected, match=words):
        parse_limits(text, EVERYBODY)


def test_a_bad_file_refuses_the_process(tmp_path: Path) -> None:
    (tmp_path / "limits").write_text("[]")
    settings = LimitSettings.model_validate({"TAEL_LIMITS_FILE": str(tmp_path / "limits")})
    with pytest.raises(BadSettings, match=r"TAEL_LIMITS_FILE=.*is not a JSON object"):
        TenantLimits(settings, CollectorRegistry())


def test_a_large_request_is_late_and_not_impossible() -> None:
    bucket = TokenBucket.full(10, 2, now=0)
    assert bucket.delay_seconds(100, 0) == 0
    bucket.take(100)
    assert bucket.delay_seconds(1, 0) == pytest.approx(8.1)
    assert bucket.delay_seconds(100, 0) == pytest.approx(10)
    assert bucket.delay_seconds(1, 8.1) == pytest.approx(0)


@given(st.floats(1, 1e6), st.floats(1, 100), st.lists(st.tuples(st.floats(0, 10), st.floats(0.1, 1e6)), max_size=50))
def test_no_one_gets_more_than_burst_and_rate_and_one_request(rate: float, burst: float, asks: list[tuple[float, float]]) -> None:
    bucket, now, taken, largest = TokenBucket.full(rate, burst, now=0), 0.0, 0.0, 0.0
    for pause, amount in asks:
        now += pause
        delay = bucket.delay_seconds(amount, now)
        if delay == 0:
            bucket.take(amount)
            taken, largest = taken + amount, max(largest, amount)
        else:
            assert delay <= burst + largest / rate + 1e-6
    assert taken <= rate * burst + rate * now + largest + 1e-6 * rate


@given(st.floats(1, 1e6), st.floats(1, 100), st.floats(0.1, 1e6), st.floats(0.1, 1e6))
def test_a_client_that_waits_as_told_is_admitted(rate: float, burst: float, first: float, second: float) -> None:
    bucket = TokenBucket.full(rate, burst, now=0)
    bucket.take(first)
    delay = bucket.delay_seconds(second, 0)
    assert bucket.delay_seconds(second, delay * (1 + 1e-9) + 1e-9) <= 1e-6 * burst


class Tenants:
    """Limits under a clock that the test controls."""

    def __init__(self, **variables: object) -> None:
        self.now = 0.0
        self.registry = CollectorRegistry()
        self.limits = TenantLimits(LimitSettings.model_validate(variables), self.registry, lambda: self.now)


def test_a_refusal_has_a_delay_that_clients_can_use() -> None:
    """A delay of nanoseconds would be useless to clients."""
    tenants = Tenants(TAEL_TENANT_ITEMS_PER_SEC=10, TAEL_TENANT_BURST_SECS=1)
    tenants.limits.take("noisy", 1, 10)
    tenants.now = 0.1 - 1e-9
    with pytest.raises(Overloaded) as refused:
        tenants.limits.take("noisy", 1, 1)
    assert refused.value.retry_after_seconds == 0.001


def test_rates_are_each_tenants_own_and_the_delay_is_the_buckets() -> None:
    tenants = Tenants(TAEL_TENANT_BYTES_PER_SEC=100, TAEL_TENANT_ITEMS_PER_SEC=10, TAEL_TENANT_BURST_SECS=1)
    tenants.limits.take("noisy", 100, 1)
    with pytest.raises(Overloaded, match="noisy sends more than its bytes_per_second of 100") as refused:
        tenants.limits.take("noisy", 50, 1)
    assert refused.value.retry_after_seconds == pytest.approx(0.5)
    with pytest.raises(Overloaded):
        tenants.limits.check("noisy")
    tenants.limits.check("quiet")
    tenants.limits.take("quiet", 50, 1)
    tenants.now = 0.5
    tenants.limits.take("noisy", 50, 1)
    limited = tenants.registry.get_sample_value("tael_ingest_limited_total", {"tenant": "noisy", "limit": "bytes_per_second"})
    assert limited == 2


def test_items_that_are_too_many_cost_no_bytes() -> None:
    tenants = Tenants(TAEL_TENANT_BYTES_PER_SEC=100, TAEL_TENANT_ITEMS_PER_SEC=10, TAEL_TENANT_BURST_SECS=1)
    tenants.limits.take("a", 10, 10)
    with pytest.raises(Overloaded, match="items_per_second"):
        tenants.limits.take("a", 90, 1)
    tenants.now = 0.1
    tenants.limits.take("a", 90, 1)


def test_without_limits_everything_is_admitted() -> None:
    tenants = Tenants()
    for _ in range(100):
        tenants.limits.take("a", 1 << 30, 1 << 20)
    tenants.limits.check("a")


def test_a_changed_file_applies_to_the_next_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tael.runtime.watched._LOOK_EVERY_SECONDS", -1.0)
    file = tmp_path / "limits"
    file.write_text(json.dumps({"a": {"items_per_second": 1, "burst_seconds": 1}}))
    tenants = Tenants(TAEL_LIMITS_FILE=str(file))
    tenants.limits.take("a", 1, 1)
    with pytest.raises(Overloaded):
        tenants.limits.take("a", 1, 1)
    file.write_text("{}")
    tenants.limits.take("a", 1, 1)


def series(**labels: str) -> Labels:
    return labels_of({"__name__": "m", **labels})


class Counting:
    """A limiter, and the warnings that it logged."""

    def __init__(self, max_tracked: int = 1000, **limits: int) -> None:
        self.warned: list[str] = []
        self.limiter = SeriesLimiter(lambda _: Limits(**limits), max_tracked, lambda _, text: self.warned.append(text))

    def admit(self, metric: str = "m", now: float = 0, tenant: str = "t", **labels: str) -> str:
        return self.limiter.admit(tenant, metric, series(**labels), now)


def test_series_are_counted_once_warned_about_at_four_fifths_and_refused_by_name() -> None:
    counting = Counting(max_series=10)
    for n in range(7):
        assert counting.admit(n=str(n)) == ""
        assert counting.admit(n=str(n)) == ""
    assert counting.warned == []
    for n in range(7, 10):
        assert counting.admit(n=str(n)) == ""
    assert counting.warned == ["tenant t has 8 of the 10 series that it may have in an hour; more will be refused"]
    assert counting.limiter.take_warnings("t") == counting.warned[0]
    assert counting.limiter.take_warnings("t") == ""
    assert counting.admit(n="10") == "tenant t has 10 series in this hour, which is its limit (TAEL_MAX_SERIES)"
    assert counting.admit(n="3") == ""
    assert counting.admit(n="10", tenant="other") == ""


def test_one_metrics_series_and_one_attributes_values_are_named() -> None:
    counting = Counting(max_series_per_metric=2)
    assert [counting.admit(n=str(n)) for n in range(3)] == [
        "",
        "",
        "metric m has 2 series in this hour, which is its limit (TAEL_MAX_SERIES_PER_METRIC)",
    ]
    counting = Counting(max_attribute_values=2)
    for n in range(2):
        assert counting.admit(user=str(n), zone="a") == ""
    assert counting.admit(user="2", zone="a") == (
        "attribute user of metric m has 2 values in this hour, which is its limit (TAEL_MAX_ATTRIBUTE_VALUES)"
    )
    assert counting.admit(user="1", zone="b") == ""


def test_limits_restart_with_the_hour() -> None:
    counting = Counting(max_series=1)
    assert counting.admit(n="1", now=3599) == ""
    assert counting.admit(n="2", now=3599) != ""
    assert counting.admit(n="2", now=3600) == ""
    assert counting.limiter.count("t") == 1


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("mn"), st.integers(0, 30)), max_size=200))
def test_no_limit_is_ever_passed_and_memory_is_bounded(asks: list[tuple[str, str, int]]) -> None:
    counting = Counting(max_tracked=50, max_series=20, max_series_per_metric=12, max_attribute_values=9)
    admitted: dict[str, set[Labels]] = {"a": set(), "b": set()}
    for tenant, metric, n in asks:
        labels = labels_of({"__name__": metric, "n": str(n % 11), "k": str(n // 11)})
        reason = counting.limiter.admit(tenant, metric, labels, 0)
        if not reason:
            admitted[tenant].add(labels)
        else:
            assert labels not in admitted[tenant]
        assert counting.limiter.tracked <= 50
    for tenant, found in admitted.items():
        assert counting.limiter.count(tenant) == len(found) <= 20
        for metric in "mn":
            of_metric = [dict(labels) for labels in found if dict(labels)["__name__"] == metric]
            assert len(of_metric) <= 12
            assert len({labels["n"] for labels in of_metric}) <= 9


def test_series_that_threads_ask_for_at_once_are_counted_exactly() -> None:
    tenants = Tenants(TAEL_MAX_SERIES=500)
    with ThreadPoolExecutor(4) as threads:
        reasons = list(threads.map(lambda n: tenants.limits.admit_series("t", "m", series(n=str(n % 700))), range(4000)))
    assert len({n % 700 for n, reason in enumerate(reasons) if not reason}) == 500


class Watching:
    """A watch over attribute keys, and the warnings that it logged."""

    def __init__(self, most: int = 3, max_tracked: int = 1000) -> None:
        self.warned: list[tuple[str, str]] = []
        self.watch = KeyWatch(lambda _: most, max_tracked, lambda tenant, text: self.warned.append((tenant, text)))

    def see(self, *keys: str, now: float, tenant: str = "t", items: str = "spans") -> bool:
        """Whether a request with these keys was checked."""
        due = self.watch.is_due(tenant, items, now)
        if due:
            self.watch.see(tenant, items, keys, now)
        return due


def test_too_many_keys_are_warned_about_once_an_hour_with_examples() -> None:
    watching = Watching()
    assert watching.see("a", "b", "c", now=0)
    assert watching.see("a", "b", now=1)
    assert watching.warned == []
    assert watching.see("c", "id.1", "id.2", now=2)
    [(tenant, text)] = watching.warned
    assert (tenant, watching.watch.take_warnings("t"), watching.watch.take_warnings("t")) == ("t", text, "")
    assert (
        "the spans of tenant t have more than 3 different attribute keys in this hour (TAEL_MAX_ATTRIBUTE_KEYS), 'id.1', 'id.2' among"
        in text
    )
    assert not watching.see("id.3", now=3)
    assert watching.see("id.3", now=3600)
    assert len(watching.warned) == 1


def test_a_request_is_looked_at_now_and_then() -> None:
    """One of each tenant and kind a second, twenty a second in all, none if there is no limit."""
    watching = Watching()
    assert [watching.see("a", now=now) for now in (10, 10.5, 10.99, 11, 11.01)] == [True, False, False, True, False]
    assert watching.see("a", now=11.1, items="log records")
    looked = sum(watching.see("a", now=20 + n / 1000, tenant=f"t{n}") for n in range(1000))
    assert 19 <= looked <= 21
    assert not Watching(most=0).see("a", now=0)


@given(st.lists(st.tuples(st.integers(0, 30), st.sets(st.integers(0, 60), max_size=12)), max_size=60))
def test_the_memory_of_keys_is_bounded(requests: list[tuple[int, set[int]]]) -> None:
    """For any tenants and keys; only tenants over their limit are warned about."""
    watching = Watching(most=8, max_tracked=40)
    sent: dict[str, set[int]] = {}
    for n, (tenant, keys) in enumerate(requests):
        watching.see(*map(str, keys), now=n, tenant=str(tenant))
        sent.setdefault(str(tenant), set()).update(keys)
        assert watching.watch.tracked <= 40
    for warned, _ in watching.warned:
        assert len(sent[warned]) > 8
    assert len({tenant for tenant, _ in watching.warned}) == len(watching.warned)


def test_keys_are_those_of_resources_and_of_the_first_items() -> None:
    request = request_of(3)
    request.resource_spans[0].scope_spans[0].spans[2].attributes.add(key="late").value.int_value = 1
    keys = attribute_keys(request.SerializeToString(), Span, 2)
    assert keys == {"service.name", *(f"test.attribute.{n}" for n in range(11))}
    assert attribute_keys(request.SerializeToString(), Span, 3) == keys | {"late"}
