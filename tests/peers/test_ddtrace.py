"""Datadog's tracer for Python, told nothing but the agent's port."""

from __future__ import annotations

from typing import Any

import pytest

from tests.peers.conftest import read_trace, run_python
from tests.support.suite import Suite


@pytest.mark.parametrize("version", ["", "v0.4"])
def test_spans_of_ddtrace_are_read_back(suite: Suite, version: str) -> None:
    """In the version that it chooses, and in the one with links and events of their own."""
    chosen = {"DD_TRACE_API_VERSION": version} if version else {}
    ids = run_python("ddtrace_shop", environment={"DD_TRACE_AGENT_PORT": str(suite.datadog_port), **chosen})
    spans = read_trace(suite, ids["trace_id"], 3)
    root, cache, pay = spans[ids["root"]], spans[ids["cache"]], spans[ids["pay"]]
    _check_root(root)
    assert (cache["service"], cache["operation"], cache["attributes"]["note"]) == ("dd-cache", "cache.get", "grüße")
    assert cache["parent_span_id"] == pay["parent_span_id"] == ids["root"]
    _check_failed(pay, ids)


def _check_root(root: dict[str, Any]) -> None:
    assert (root["service"], root["operation"], root["span_kind"], root["status"]) == ("dd-shop", "web.request", "server", "unset")
    assert root["parent_span_id"] is None
    assert root["flags"] == 1
    assert root["duration_ms"] > 0
    attributes = root["attributes"]
    assert (attributes["resource.name"], attributes["span.type"], attributes["http.method"]) == ("GET /cart", "web", "GET")
    assert (attributes["items"], attributes["ratio"], attributes["_sampling_priority_v1"]) == (3, 0.25, 1)
    assert "_dd.p.tid" not in attributes
    resource = root["resource"]["attributes"]
    assert (resource["service.name"], resource["telemetry.sdk.name"], resource["telemetry.sdk.language"]) == (
        "dd-shop",
        "Datadog",
        "python",
    )
    assert resource["telemetry.sdk.version"] == root["scope"]["version"]
    assert resource["process.runtime.name"] == "CPython"


def _check_failed(pay: dict[str, Any], ids: dict[str, str]) -> None:
    assert (pay["status"], pay["status_message"], pay["attributes"]["error.type"]) == (
        "error",
        "invalid literal for int() with base 10: 'card'",
        "builtins.ValueError",
    )
    (link,) = pay["links"]
    assert (link["trace_id"], link["span_id"], link["attributes"]) == (ids["trace_id"], ids["cache"], {"why": "test"})
    (event,) = pay["events"]
    assert (event["name"], event["attributes"]) == ("charged", {"amount": 3, "currency": "EUR"})
    assert not {"events", "_dd.span_links"} & pay["attributes"].keys()
