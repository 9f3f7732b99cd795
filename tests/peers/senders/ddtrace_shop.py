"""A shop traced by Datadog's tracer as its users write it: only the environment says where the agent is."""

from __future__ import annotations

import contextlib
import json
import sys

from ddtrace.trace import tracer

with tracer.trace("web.request", service="dd-shop", resource="GET /cart", span_type="web") as root:
    root.set_tag("span.kind", "server")
    root.set_tag("http.method", "GET")
    root.set_metric("items", 3)
    root.set_metric("ratio", 0.25)
    with tracer.trace("cache.get", service="dd-cache") as cache:
        cache.set_tag("note", "grüße")
    with contextlib.suppress(ValueError), tracer.trace("pay", resource="POST /pay") as pay:
        pay.link_span(cache.context, {"why": "test"})
        pay._add_event("charged", {"amount": 3, "currency": "EUR"})
        int("card")
ids = {"trace_id": f"{root.trace_id:032x}", "root": f"{root.span_id:016x}", "cache": f"{cache.span_id:016x}", "pay": f"{pay.span_id:016x}"}
tracer.shutdown()
json.dump(ids, sys.stdout)
