"""Results of PromQL as JSON: the text of any number, and every sample at its time, whichever are missing."""

from __future__ import annotations

import json
import math
from decimal import Decimal

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.query.api.prometheus.cells import texts as numbers_as_text
from services.query.api.prometheus.encode import chunks
from tael.vectors.values import Steps, Vector

INSTANT = 1_790_000_000_123
FLOATS = st.floats() | st.integers(-(10**18), 10**18).map(float) | st.decimals(-1000, 1000, places=3).map(float)


@given(st.lists(FLOATS, min_size=1, max_size=50))
def test_a_number_is_written_as_prometheus_does(values: list[float]) -> None:
    """The shortest digits that read back, with an exponent only below 1e-6 and from 1e21 on."""
    texts = numbers_as_text(np.array(values))
    assert [float(text) if text not in {"NaN", "+Inf", "-Inf"} else text for text in texts] == list(map(as_read, values))
    assert texts == list(map(as_written, values))


def as_read(value: float) -> float | str:
    """The value as a client reads it."""
    return value if math.isfinite(value) else as_written(value)


def as_written(value: float) -> str:
    """Go's ``strconv.FormatFloat(value, 'f', -1, 64)``, or ``'e'`` where Prometheus' JSON uses that."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    digits = repr(value)
    if value != 0 and not 1e-6 <= abs(value) < 1e21:
        return digits.replace(".0e", "e")
    return format(Decimal(digits), "f").removesuffix(".0")


@given(st.integers(1, 5), st.integers(1, 6), st.data())
def test_a_matrix_has_each_sample_at_its_time(series: int, count: int, data: st.DataObject) -> None:
    """Series by labels, with exactly the samples that are present."""
    values = np.array(data.draw(st.lists(st.lists(FLOATS, min_size=count, max_size=count), min_size=series, max_size=series)))
    present = np.array(data.draw(st.lists(st.lists(st.booleans(), min_size=count, max_size=count), min_size=series, max_size=series)))
    labels = [(("n", f'{number}"\\\n\x01é'),) for number in reversed(range(series))]
    steps = Steps(INSTANT, INSTANT + 500 * (count - 1), 500)
    answer = json.loads(b"".join(chunks(Vector(labels, np.where(present, values, np.nan), present), steps)))
    assert [one["metric"]["n"] for one in answer] == sorted(own["n"] for own in map(dict, labels))
    for one in answer:
        row = labels.index((("n", one["metric"]["n"]),))
        wanted = [
            [time / 1000, as_written(value)]
            for time, value, there in zip(steps.times_ms.tolist(), values[row].tolist(), present[row].tolist(), strict=True)
            if there
        ]
        assert one.get("values", []) == wanted
