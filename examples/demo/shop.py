"""The shop: a customer browses or buys; payment is sometimes declined, a query is sometimes slow, fulfilment follows by message."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from opentelemetry._logs import SeverityNumber
from opentelemetry.trace import Link, Span, SpanKind

from examples.demo.stage import Failed, Story

_PRODUCTS = ("telescope", "star map", "red torch", "tripod", "eyepiece")


def browse(story: Story) -> None:
    """Frontend → catalog → database, mostly from the cache."""
    product = story.chance.choice(_PRODUCTS)
    with story.step(
        "frontend", "GET /products/{id}", SpanKind.SERVER, {"http.request.method": "GET", "http.route": "/products/{id}"}
    ) as root:
        story.spend(1, 4)
        with call(story, "frontend", "catalog", "GET /catalog/{id}"):
            if story.chance.random() < 0.7:
                story.spend(0.5, 2)
            else:
                query(story, "catalog", "SELECT", "products", slow=story.chance.random() < 0.1)
        root.add_event("rendered", {"shop.product": product, "shop.related": list(_PRODUCTS[:3])}, story.at_ns)
        story.spend(1, 3)
        root.set_attribute("http.response.status_code", 200)


def buy(story: Story) -> None:
    """Frontend → cart and checkout → payment; a paid order becomes a message that starts a trace of its own, linked to this one."""
    paid: Span | None = None
    method = {"http.request.method": "POST", "http.route": "/checkout"}
    with contextlib.suppress(Failed), story.step("frontend", "POST /checkout", SpanKind.SERVER, method) as root:
        story.spend(1, 5)
        root.set_attributes({"enduser.id": f"customer-{story.chance.randint(1, 500)}", "shop.items": story.chance.randint(1, 6)})
        with call(story, "frontend", "cart", "GET /cart"):
            query(story, "cart", "SELECT", "cart_items")
        with call(story, "frontend", "checkout", "POST /orders"):
            query(story, "checkout", "INSERT", "orders")
            with call(story, "checkout", "payment", "POST /charges") as charge:
                _charge(story, charge)
            story.say("checkout", SeverityNumber.INFO, "order placed", {"shop.items": story.chance.randint(1, 6)})
            with story.step("checkout", "send orders", SpanKind.PRODUCER, _queue("send")) as paid:
                story.spend(0.3, 2)
        root.set_attribute("http.response.status_code", 201)
        story.spend(1, 3)
    story.telemetry.meters["checkout"].orders.add(1, {"shop.outcome": "failed" if paid is None else "paid"})
    if paid is not None:
        _fulfil(story, paid)


@contextlib.contextmanager
def call(story: Story, caller: str, callee: str, name: str) -> Iterator[Span]:
    """A client span in the caller around a server span in the callee, with the network between them."""
    method, route = name.split()
    with story.step(caller, method, SpanKind.CLIENT, {"http.request.method": method, "server.address": callee, "server.port": 8080}):
        story.spend(0.2, 1.5)
        with story.step(callee, name, SpanKind.SERVER, {"http.request.method": method, "http.route": route}) as span:
            story.spend(0.3, 2)
            yield span
        story.spend(0.2, 1.5)


def query(story: Story, service: str, operation: str, table: str, *, slow: bool = False) -> None:
    """A database call."""
    attributes = {
        "db.system.name": "postgresql",
        "db.operation.name": operation,
        "db.collection.name": table,
        "db.query.summary": f"{operation} {table}",
        "server.address": "db",
    }
    with story.step(service, f"{operation} {table}", SpanKind.CLIENT, attributes) as span:
        if slow:
            span.add_event("lock.wait", {"db.lock.table": table}, story.at_ns)
            story.spend(400, 1800)
            story.say(service, SeverityNumber.WARN, f"waited for a lock on {table}", {"db.collection.name": table})
        story.spend(1, 12)
        span.set_attribute("db.response.returned_rows", story.chance.randint(1, 40))


def _charge(story: Story, span: Span) -> None:
    amount = round(story.chance.uniform(9, 900), 2)
    span.set_attributes({"payment.amount": amount, "payment.currency": "EUR", "payment.retries": 0})
    story.spend(40, 180)
    dice = story.chance.random()
    if dice < 0.08:
        raise Failed("card_declined", f"card declined for {amount} EUR")
    if dice < 0.10:
        story.spend(2000, 2500)
        raise Failed("timeout", "the bank did not answer within 2 s")
    span.add_event("charged", {"payment.authorised": True}, story.at_ns)


def _fulfil(story: Story, cause: Span) -> None:
    link = Link(cause.get_span_context(), {"messaging.operation.type": "process"})
    story.spend(20, 400)
    with story.step("fulfilment", "process orders", SpanKind.CONSUMER, _queue("process"), [link]):
        query(story, "fulfilment", "UPDATE", "stock", slow=story.chance.random() < 0.03)


def _queue(operation: str) -> dict[str, str]:
    return {"messaging.system": "nats", "messaging.destination.name": "orders", "messaging.operation.type": operation}
