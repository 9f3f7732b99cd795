"""What is remembered of the resources and scopes of log records is bounded by its size."""

from __future__ import annotations

from tael.logql.records import Origins
from tael.model.span import Resource, Scope


def test_many_small_and_few_large_ones_are_remembered() -> None:
    """One is converted once while it is remembered, and what does not fit makes room for itself."""
    scope, small = Scope(), [Resource({"service.name": f"s{at}"}) for at in range(50)]
    origins = Origins(100_000)
    labels = [origins.of(resource, scope) for resource in small]
    assert labels[3][0] == {"service_name": "s3"}
    assert all(origins.of(resource, scope)[0] is own for resource, (own, _) in zip(small, labels, strict=True))
    assert len(origins) == 50
    for at in range(20):
        origins.of(Resource({"text": str(at) * 30_000}), scope)
    assert len(origins) <= 3
    assert origins.of(Resource({"text": "x" * 200_000}), scope)[1] == {"text": "x" * 200_000}
    assert len(origins) == 1
