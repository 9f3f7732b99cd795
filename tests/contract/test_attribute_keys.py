"""The attribute keys and values of one shard's items, and the views that note them as items are written."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tael.model.attribute_keys import AttributeKey
from tael.model.time import TimeRange
from tael.otlp.anyvalue import encode_attributes
from tael.storage.clickhouse.attribute_keys import VALUE_BYTES, ClickHouseAttributeKeys
from tests.support.hotnode import HotNode
from tests.support.storage import START_NS, HotTier, logs_of, of_service, open_tier, wire_log, wire_span

HOUR_NS = 3_600 * 10**9
NOW, LATER = TimeRange(START_NS, START_NS + 1), TimeRange(START_NS + HOUR_NS, START_NS + HOUR_NS + 1)


@pytest.fixture
async def tier(shared_hot_node: HotNode) -> AsyncIterator[HotTier]:
    """One shard."""
    async with open_tier([shared_hot_node]) as found:
        yield found


@pytest.fixture
def keys(tier: HotTier) -> ClickHouseAttributeKeys:
    """The attribute keys of the tier."""
    return ClickHouseAttributeKeys(tier.clickhouses[0])


async def test_keys_are_found_by_scope_and_type(tier: HotTier, keys: ClickHouseAttributeKeys) -> None:
    """Of every type, once; of the hours and the tenant that were asked for."""
    span = wire_span(attributes={"a": "x", "n": 5, "d": 0.5, "b": True, "list": [1], "none": None})
    span.events.add(name="e").attributes.extend(encode_attributes({"in event": "1", "number": 1}))
    span.links.add(trace_id=b"t" * 16).attributes.extend(encode_attributes({"in link": "1"}))
    group = of_service("shop", span, *(wire_span(i, attributes={"n": str(i)}) for i in range(200)), zone="eu", pid=7)
    group.scope_spans[0].scope.attributes.extend(encode_attributes({"in scope": "1"}))
    await tier.store(group)
    await tier.store(of_service("shop", wire_span(HOUR_NS, attributes={"later": 1})))
    await tier.store(of_service("shop", wire_span(attributes={"theirs": 1})), tenant="t2")
    assert (await keys.list_keys("t1", "traces", NOW)).value == [
        AttributeKey("attribute", "b", "bool"),
        AttributeKey("attribute", "d", "double"),
        AttributeKey("attribute", "n", "int"),
        AttributeKey("attribute", "list", None),
        AttributeKey("attribute", "none", None),
        AttributeKey("attribute", "a", "string"),
        AttributeKey("attribute", "n", "string"),
        AttributeKey("event", "number", None),
        AttributeKey("event", "in event", "string"),
        AttributeKey("instrumentation", "in scope", "string"),
        AttributeKey("link", "in link", "string"),
        AttributeKey("resource", "pid", "int"),
        AttributeKey("resource", "service.name", "string"),
        AttributeKey("resource", "zone", "string"),
    ]
    assert AttributeKey("attribute", "later", "int") in (await keys.list_keys("t1", "traces", LATER)).value
    assert (await keys.list_keys("t1", "logs", NOW)).value == []


async def test_keys_of_logs(tier: HotTier, keys: ClickHouseAttributeKeys) -> None:
    await tier.store_logs(logs_of("shop", wire_log(attributes={"user": "ann", "n": 1})))
    assert (await keys.list_keys("t1", "logs", NOW)).value == [
        AttributeKey("attribute", "n", "int"),
        AttributeKey("attribute", "user", "string"),
        AttributeKey("resource", "service.name", "string"),
    ]
    assert (await keys.list_values("t1", "logs", "attribute", "user", NOW, 10)).value == ["ann"]


async def test_values_are_sampled(tier: HotTier, keys: ClickHouseAttributeKeys) -> None:
    """Common ones are there; long ones are not, nor those of a key that has many in an insert; strings come before integers."""
    many = [wire_span(i, attributes={"code": 200 + i % 2, "long": "x" * (VALUE_BYTES + 1), "k": "v", "each": str(i)}) for i in range(4_000)]
    await tier.store(of_service("shop", *many, zone="eu"))
    await tier.store(of_service("shop", wire_span(attributes={"k": 1, "code": 500}), zone="us"))
    assert (await keys.list_values("t1", "traces", "attribute", "k", NOW, 10)).value == ["v", 1]
    assert 500 in (await keys.list_values("t1", "traces", "attribute", "code", NOW, 10)).value
    for none_kept in ("long", "each"):
        assert (await keys.list_values("t1", "traces", "attribute", none_kept, NOW, 10)).value == []
    assert (await keys.list_values("t1", "traces", "resource", "zone", NOW, 1)).value == ["eu"]
    assert (await keys.list_values("t1", "traces", "resource", "zone", LATER, 1)).value == []
