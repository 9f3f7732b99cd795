"""Requests that are small on the wire but large once decompressed or parsed, at least one for each protocol."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import cramjam
import msgpack

MIB = 1 << 20
_PROTOBUF = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
_JSON = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
_SNAPPY = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
_MSGPACK = {"Content-Type": "application/msgpack"}


@dataclass(frozen=True)
class Attack:
    """One request. ``port`` names the receiver: OTLP's or Datadog's."""

    name: str
    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    port: str = "otlp"


def attacks(size_bytes: int = MIB) -> Iterator[Attack]:
    """The attacks, each of which expands to about ``size_bytes``."""
    for signal in ("traces", "logs", "metrics"):
        for unit in (b"\x0a\x00", b"\x0a\x02\x12\x00", b"\x0a\x04\x12\x02\x12\x00"):
            yield Attack(f"{signal} of empty messages {unit.hex()}", f"/v1/{signal}", gzip.compress(repeated(unit, size_bytes)), _PROTOBUF)
        for name, body in (("attributes", b"\x4a\x00"), ("events", b"\x5a\x00"), ("fields of no name", b"\xf8\x07\x00")):
            wrapped = in_fields(repeated(body, size_bytes), 2, 2, 1)
            yield Attack(f"{signal} of an item with empty {name}", f"/v1/{signal}", gzip.compress(wrapped), _PROTOBUF)
    points = in_fields(repeated(b"\x0a\x00", size_bytes), 5, 2, 2, 1)
    yield Attack("metrics of empty points", "/v1/metrics", gzip.compress(points), _PROTOBUF)
    attributes = in_fields(repeated(b"\x3a\x00", size_bytes), 1, 5, 2, 2, 1)
    yield Attack("metrics of a point with empty attributes", "/v1/metrics", gzip.compress(attributes), _PROTOBUF)
    yield from _json(size_bytes)
    yield from _remote_write(size_bytes)
    yield from _datadog(size_bytes)
    yield from _translated(size_bytes)
    members = gzip.compress(b"", mtime=0) * (size_bytes // 20)
    yield Attack("gzip of empty members", "/v1/traces", members, _PROTOBUF)
    endless = gzip.compress(b"\x0a" + b"\xff" * size_bytes)
    yield Attack("a number without an end", "/v1/traces", endless, _PROTOBUF)
    yield Attack("gzip of zeros", "/v1/traces", gzip.compress(bytes(size_bytes)), _PROTOBUF)


def _json(size_bytes: int) -> Iterator[Attack]:
    for name, unit in (("objects", "{},"), ("arrays", "[],"), ("numbers", "0,"), ("attributes", '{"key":"a"},')):
        items = (unit * (size_bytes // len(unit))).rstrip(",")
        text = f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"attributes":[{items}]}}]}}]}}]}}'
        yield Attack(f"JSON of {name}", "/v1/traces", gzip.compress(text.encode()), _JSON)


def _remote_write(size_bytes: int) -> Iterator[Attack]:
    for name, body in (
        ("empty series", repeated(b"\x0a\x00", size_bytes)),
        ("empty metadata", repeated(b"\x1a\x00", size_bytes)),
        ("empty samples", in_fields(b"\x0a\x0d\x0a\x08__name__\x12\x01a" + repeated(b"\x12\x00", size_bytes), 1)),
        ("empty exemplars", in_fields(b"\x0a\x0d\x0a\x08__name__\x12\x01a" + repeated(b"\x1a\x00", size_bytes), 1)),
        ("empty labels", in_fields(repeated(b"\x0a\x00", size_bytes), 1)),
    ):
        yield Attack(f"remote write of {name}", "/api/v1/write", bytes(cramjam.snappy.compress_raw(body)), _SNAPPY)
    symbols = bytes(cramjam.snappy.compress_raw(repeated(b"\x22\x00", size_bytes)))
    headers = {**_SNAPPY, "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}
    yield Attack("remote write 2.0 of empty symbols", "/api/v1/write", symbols, headers)


def _datadog(size_bytes: int) -> Iterator[Attack]:
    many = size_bytes.to_bytes(4, "big")
    gzipped = {**_MSGPACK, "Content-Encoding": "gzip"}
    for name, body in (
        ("empty traces", b"\xdd" + many + b"\x90" * size_bytes),
        ("empty spans", b"\x91\xdd" + many + b"\x80" * size_bytes),
        ("an array that is not there", b"\xdd\xff\xff\xff\xff"),
        ("lists in lists", b"\x91" * size_bytes),
        ("lists of empty lists", msgpack.packb([[{"meta": [[[]] * 60_000] * max(1, size_bytes // 60_000)}]])),
        ("empty maps", msgpack.packb([[{"span_events": [[{}] * 60_000] * max(1, size_bytes // 60_000)}]])),
    ):
        yield Attack(f"Datadog's {name}", "/v0.4/traces", gzip.compress(body), gzipped, "datadog")
    yield Attack("Datadog's empty texts", "/v0.5/traces", gzip.compress(b"\x92\xdd" + many + b"\xa0" * size_bytes), gzipped, "datadog")
    text = json.dumps([[{}] * (size_bytes // 4)])
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    yield Attack("Datadog's empty spans in JSON", "/v0.4/traces", gzip.compress(text.encode()), headers, "datadog")


def _translated(size_bytes: int) -> Iterator[Attack]:
    """The attacks through Loki's, Zipkin's and Jaeger's protocols."""
    block = bytes(cramjam.snappy.compress_raw(repeated(b"\x0a\x00", size_bytes)))
    yield Attack("Loki's empty streams", "/loki/api/v1/push", block, _SNAPPY)
    entries = in_fields(b'\x0a\x07{a="b"}' + repeated(b"\x12\x00", size_bytes), 1)
    yield Attack("Loki's empty entries", "/loki/api/v1/push", bytes(cramjam.snappy.compress_raw(entries)), _SNAPPY)
    for name, path, text in (
        ("Loki's empty streams in JSON", "/loki/api/v1/push", '{"streams":[%s]}'),
        ("Zipkin's empty spans", "/api/v2/spans", "[%s]"),
        ("Zipkin's empty annotations", "/api/v2/spans", '[{"annotations":[%s]}]'),
    ):
        items = text % ("{}," * (size_bytes // 3)).rstrip(",")
        yield Attack(name, path, gzip.compress(items.encode()), _JSON)
    thrift = {"Content-Type": "application/x-thrift", "Content-Encoding": "gzip"}
    many = (size_bytes // 2).to_bytes(4, "big")
    for name, body in (
        ("empty spans", b"\x0c\x00\x01\x00\x0f\x00\x02\x0c" + many + bytes(size_bytes // 2) + b"\x00"),
        ("bytes one by one", b"\x0f\x00\x02\x03" + many + bytes(size_bytes // 2) + b"\x00"),
        ("a list that is not there", b"\x0f\x00\x02\x0c\x7f\xff\xff\xff"),
        ("structs in structs", b"\x0c\x00\x01" * (size_bytes // 3)),
        ("lists in lists", b"\x0f\x00\x01" + b"\x0f\x00\x00\x00\x01" * (size_bytes // 5)),
    ):
        yield Attack(f"Jaeger's {name}", "/api/traces", gzip.compress(body), thrift)


def repeated(unit: bytes, size_bytes: int) -> bytes:
    """``unit`` repeated up to the given size."""
    return unit * (size_bytes // len(unit))


def in_fields(body: bytes, *numbers: int) -> bytes:
    """``body`` wrapped in nested protobuf fields: in a field with the first number, that in one with the second, and so on."""
    for number in numbers:
        size, length = len(body), b""
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        body = bytes([number << 3 | 2]) + length + bytes([size]) + body
    return body
