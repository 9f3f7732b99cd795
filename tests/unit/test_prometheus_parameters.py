"""Parameters of Prometheus' API: times, durations, limits, label names."""

from __future__ import annotations

import pytest

from services.query.api.prometheus.encode import seconds
from services.query.api.prometheus.parameters import EARLIEST_MS, LATEST_MS, Form, label_name
from tael.errors import Rejected


def form(**values: str) -> Form:
    return Form({name: [value] for name, value in values.items()})


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("4", 4000),
        ("1435781451.781", 1435781451781),
        ("1.5e9", 1_500_000_000_000),
        ("-1", -1000),
        ("2015-07-01T20:10:51.781Z", 1435781451781),
        ("2015-07-01T22:10:51+02:00", 1435781451000),
        ("2015-07-01t20:10:51.7z", 1435781451700),
    ],
)
def test_times(text: str, milliseconds: int) -> None:
    assert form(time=text).instant_ms("time") == milliseconds


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "1e300", "2015-13-01T00:00:00Z", "2015-07-01", " 5", "٣"])
def test_an_invalid_time_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="to a valid timestamp"):
        form(time=text).instant_ms("time")


def test_a_time_that_may_be_left_out_is_refused_by_its_name() -> None:
    assert form().instant_ms("time", 7) == 7
    with pytest.raises(Rejected, match='parameter "time": Invalid time value for \'time\': cannot parse "x" to a valid timestamp'):
        form(time="x").instant_ms("time", 7)


@pytest.mark.parametrize(("text", "milliseconds"), [("", None), ("0", None), ("-1", None), ("1", 1000), ("2m", 120_000)])
def test_a_lookback_that_is_not_positive_is_the_engines(text: str, milliseconds: int | None) -> None:
    assert form(lookback_delta=text).lookback_ms() == milliseconds


def test_an_invalid_lookback_is_refused() -> None:
    with pytest.raises(Rejected, match='error parsing lookback delta duration: cannot parse "x" to a valid duration'):
        form(lookback_delta="x").lookback_ms()


@pytest.mark.parametrize(("text", "milliseconds"), [("15", 15_000), ("0.5", 500), ("1h30m", 5_400_000), ("250ms", 250), ("", None)])
def test_durations(text: str, milliseconds: int | None) -> None:
    assert form(step=text).duration_ms("step") == milliseconds


@pytest.mark.parametrize("text", ["x", "1x", "nan", "1e300", "5m 3s"])
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="to a valid duration"):
        form(step=text).duration_ms("step")


def test_a_range_holds_eleven_thousand_points() -> None:
    assert form(start="0", end="11000", step="1").range().count == 11_001
    with pytest.raises(Rejected, match="exceeded maximum resolution of 11,000 points"):
        form(start="0", end="11001", step="1").range()


def test_a_missing_range_is_all_time() -> None:
    assert form().between() == (EARLIEST_MS, LATEST_MS)
    assert form(start="-5", end="9e12").between() == (EARLIEST_MS, LATEST_MS)
    with pytest.raises(Rejected, match="end timestamp must not be before start timestamp"):
        form(start="2", end="1").between()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("job", "job"),
        ("http.method", "http.method"),
        ("U__http_2e_method", "http.method"),
        ("U___5f_", "_"),
        ("U__a__b", "a_b"),
        ("U__gr_f6__df_e", "größe"),
        ("U__no_escape", "U__no_escape"),
    ],
)
def test_label_names_may_be_escaped(path: str, name: str) -> None:
    assert label_name(path) == name


def test_a_label_without_a_name_is_refused() -> None:
    with pytest.raises(Rejected, match="invalid label name"):
        label_name("U__")


@pytest.mark.parametrize(
    ("milliseconds", "text"), [(0, "0"), (4000, "4"), (1500, "1.5"), (1_790_002_800_001, "1790002800.001"), (-1500, "-1.5")]
)
def test_seconds_have_at_most_three_decimals(milliseconds: int, text: str) -> None:
    assert seconds(milliseconds) == text
