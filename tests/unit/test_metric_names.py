"""OpenTelemetry's names as Prometheus names, by the compatibility specification."""

from __future__ import annotations

import pytest

from tael.metrics.labels import labels_from, number_text, text_of
from tael.metrics.names import Kind, Names, NameStyle


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("http.server.request.duration", "s", "histogram", "http_server_request_duration_seconds"),
        ("requests", "1", "counter", "requests_total"),
        ("requests.total", "{request}", "counter", "requests_total"),
        ("total.requests", "", "counter", "requests_total"),
        ("cpu.utilization", "1", "gauge", "cpu_utilization_ratio"),
        ("cpu.ratio", "1", "gauge", "cpu_ratio"),
        ("system.memory.usage", "By", "gauge", "system_memory_usage_bytes"),
        ("process_seconds", "s", "gauge", "process_seconds"),
        ("disk.io", "By/s", "gauge", "disk_io_bytes_per_second"),
        ("disk.io", "{op}/s", "gauge", "disk_io_per_second"),
        ("queue", "{item}", "gauge", "queue"),
        ("temperature", "Cel", "gauge", "temperature_celsius"),
        ("speed", "m/h", "gauge", "speed_meters_per_hour"),
        ("odd", "furlong", "gauge", "odd_furlong"),
        ("2xx", "", "counter", "_2xx_total"),
        ("a..b//c", "", "gauge", "a_b_c"),
        ("level:rate", "", "gauge", "level:rate"),
        ("___", "", "gauge", ""),
        ("", "s", "gauge", ""),
        ("größe", "", "gauge", "gr_e"),
    ],
)
def test_metric_names_with_underscores(name: str, unit: str, kind: Kind, expected: str) -> None:
    """The default: only characters that Prometheus always allowed, unit and type appended."""
    assert Names().metric(name, unit, kind) == expected


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("underscores-without-suffixes", "http_server_hits"),
        ("utf8", "http.server.hits_bytes_total"),
        ("untranslated", "http.server.hits"),
    ],
)
def test_metric_names_of_other_styles(style: NameStyle, expected: str) -> None:
    """Characters and suffixes are independent options."""
    assert Names(style).metric("http.server.hits", "By", "counter") == expected


def test_a_suffix_that_is_there_is_not_doubled_in_utf8() -> None:
    """Unit and type are looked for at the end."""
    assert Names("utf8").metric("disk.io_bytes_total", "By", "counter") == "disk.io_bytes_total"
    assert Names("utf8").metric("load_ratio", "1", "gauge") == "load_ratio"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("http.method", "http_method"), ("1st", "key_1st"), ("_private", "key_private"), ("__own", "__own"), ("a.b.c", "a_b_c"), ("...", "")],
)
def test_label_names(name: str, expected: str) -> None:
    """A leading digit or single underscore gets a prefix."""
    assert Names().label(name) == expected
    assert Names("utf8").label(name) == name


def test_values_are_text() -> None:
    """As in JSON, but strings are not quoted."""
    values = ["a", True, 5, 2.0, 0.25, float("inf"), b"\x00\xff", ["a", 1, None], {"b": 1, "a": [False]}, None]
    assert [text_of(value) for value in values] == [  # type: ignore[arg-type]
        "a",
        "true",
        "5",
        "2",
        "0.25",
        "+Inf",
        "AP8=",
        '["a",1,null]',
        '{"a":[false],"b":1}',
        "",
    ]


def test_bounds_are_text_without_an_exponent() -> None:
    """As Prometheus' OTLP receiver writes ``le``."""
    numbers = [0.0, 0.005, 1.0, 2.5, 1e9, 1e-7, float("inf"), float("-inf"), float("nan")]
    assert [number_text(number) for number in numbers] == ["0", "0.005", "1", "2.5", "1000000000", "0.0000001", "+Inf", "-Inf", "NaN"]


def test_attributes_whose_names_become_one_are_joined() -> None:
    """In the order of their keys; empty values are not labels."""
    assert labels_from({"a.b": "2", "a-b": "1", "c": ""}, Names()) == {"a_b": "1;2"}
    with pytest.raises(ValueError, match=r"'\.'"):
        labels_from({".": "x"}, Names())
