"""The expressions that are asked of Prometheus and of tael: of every function, aggregation, operator and form of matching, and some made at
random.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import product

from tests.support.promql_random import Maker

T0 = 1_790_002_800
"""Seconds; samples are 137 ms and more off whole seconds, questions are at 7 s past a minute."""
SEED, MADE = 7, 200
"""How many expressions are made at random, and from what."""
AT = (T0 + 1_507, T0 + 2_407, T0 + 3_787)
RANGE = {"start": T0 + 1_507, "end": T0 + 4_407, "step": 100}
"""Windows begin after the first samples: since 2.53 rates are otherwise carried on towards the start of a counter by another rule."""
GAUGES = ("temperature", 'temperature{room!="attic"}', 'temperature{room=~"k.*|bath"}', "sparse", "odd")
COUNTERS = ("requests_total", 'requests_total{code="500"}', 'requests_total{code=~"5..|200",job!~"x"}', "sparse_total")
WINDOWS = ("1m", "17m")
OVER_TIME = (
    "avg_over_time", "min_over_time", "max_over_time", "sum_over_time", "count_over_time", "last_over_time", "present_over_time",
    "stddev_over_time", "stdvar_over_time", "changes", "resets", "deriv", "delta", "idelta", "absent_over_time",
)  # fmt: skip
OF_COUNTERS = ("rate", "increase", "irate", "resets", "changes")
OF_ONE = (
    "abs", "ceil", "floor", "exp", "sqrt", "ln", "log2", "log10", "sgn", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh",
    "asinh", "acosh", "atanh", "deg", "rad", "timestamp", "sort", "sort_desc", "absent", "scalar", "histogram_count", "histogram_sum", "-", "+",
)  # fmt: skip
OF_CALENDAR = ("day_of_week", "day_of_month", "day_of_year", "days_in_month", "hour", "minute", "month", "year")
AGGREGATIONS = (
    "sum",
    "avg",
    "min",
    "max",
    "count",
    "group",
    "stddev",
    "stdvar",
    "topk(2, ",
    "bottomk(2, ",
    "quantile(0.7, ",
    'count_values("v", ',
)
BY = ("", "by (job)", "without (job)", "by (code, absent)", "without (instance, code)")
OPERATORS = (
    "+", "-", "*", "/", "%", "^", "atan2", "==", "!=", ">", "<", ">=", "<=", "== bool", "!= bool", "> bool", "< bool", ">= bool", "<= bool",
)  # fmt: skip
MATCHED = (
    ('requests_total{code="500"}', "on (job, instance)", "build_info"),
    ('requests_total{code="500"}', "ignoring (code)", 'requests_total{code="200"}'),
    ("requests_total", "on (job, instance) group_left ()", "build_info"),
    ("requests_total", "ignoring (code, version) group_left (version)", "build_info"),
    ("build_info", "on (job, instance) group_right ()", "requests_total"),
    ("build_info", "ignoring (code, version) group_right (version)", "requests_total"),
    ("sum by (room) (temperature)", "", "sum by (room) (sparse)"),
    ("requests_total", "on (job)", "build_info"),
)
"""Both sides of a match, and how they meet; the last one does not."""
SET_MATCHED = (
    ("requests_total", "", "rate(requests_total[5m])"),
    ("requests_total", "on (job)", 'build_info{version="2"}'),
    ("requests_total", "on ()", "sparse"),
    ("temperature", "ignoring (room)", "sparse"),
    ("sparse", "", "temperature"),
)
MODIFIED = ("offset 4m", "offset -4m", "@ 1790004007", "@ start()", "@ end() offset 90s")
SINGLE = """
1 + 2 * 3 ^ 2 % 4
-2 ^ 2
Inf - Inf
NaN == bool NaN
time()
vector(time()) - timestamp(temperature)
pi()
"text"
temperature offset 5m
temperature offset -3m
temperature @ 1790004007
temperature @ end()
rate(requests_total[5m] @ start())
sum(requests_total @ 1790004007) by (job) + sum(requests_total) by (job)
requests_total / on (job, instance) group_left () build_info
requests_total * on (job, instance) group_left (version) build_info
build_info * on (job, instance) group_right () requests_total
sum by (job) (rate(requests_total{code="500"}[5m])) / sum by (job) (rate(requests_total[5m]))
requests_total{code="500"} / ignoring (code) requests_total{code="200"}
temperature and temperature{room="kitchen"}
temperature or sparse
temperature unless temperature > 20
requests_total and on (job) build_info
requests_total unless on (job, instance) build_info{version="2"}
temperature > 20 < 23
temperature * 0 + 1 == 1
clamp(temperature, 19, 21)
clamp_min(temperature, 20)
clamp_max(temperature, 20)
round(temperature)
round(temperature, 0.3)
round(temperature, -5)
label_replace(requests_total, "copy", "$1-$2", "instance", "(.*):(.*)")
label_replace(requests_total, "job", "", "job", ".*")
label_replace(temperature, "x", "$9y", "room", "(k)?.*")
label_join(requests_total, "both", "/", "job", "code", "absent")
histogram_quantile(0.9, rate(seconds_bucket[5m]))
histogram_quantile(0.5, sum by (le, job) (rate(seconds_bucket[5m])))
histogram_quantile(0, seconds_bucket)
histogram_quantile(1, seconds_bucket)
histogram_quantile(-1, seconds_bucket)
histogram_quantile(2, seconds_bucket)
histogram_quantile(scalar(vector(0.3)), seconds_bucket)
rate(seconds_sum[5m]) / rate(seconds_count[5m])
predict_linear(temperature[10m], 3600)
predict_linear(temperature[10m] offset 2m, -60)
predict_linear(requests_total[5m], 0)
predict_linear(temperature[20m:50s], 600)
requests_total > on (job) sum by (job) (requests_total)
requests_total < on (job) sum by (job) (requests_total)
requests_total == on (job) max by (job) (requests_total)
requests_total > bool on (job) sum by (job) (requests_total)
requests_total > on (job) group_left () (sum by (job) (requests_total) / 7)
build_info == on (job) group_right (instance) requests_total
requests_total > on (code) group_left (version) (0 * group by (code) (requests_total))
predict_linear(temperature[10m] @ 1790004007, 60)
timestamp(abs(temperature @ 1790004007))
timestamp(temperature @ 1790004007)
timestamp(sum(temperature offset 3m))
-(temperature > 20) or temperature
temperature or -temperature
(temperature > 20) + 1 or temperature
abs(temperature < 20) or rate(temperature[5m]) or sparse
sum(-(temperature > 20) or temperature)
double_exponential_smoothing(temperature[20m:50s], 0.5, 0.1)
double_exponential_smoothing(odd[10m], 0.5, 0.1)
double_exponential_smoothing(temperature[10m], 1, 0.6)
quantile_over_time(0.5, odd[10m])
quantile_over_time(0.3, requests_total[20m:50s])
histogram_fraction(0, 1, seconds_bucket)
histogram_quantile(0.9, sum by (le) (rate(seconds_bucket[5m])))
histogram_quantile(0.9, seconds_bucket{le!="+Inf"})
histogram_quantile(0.9, seconds_bucket{le!~"0.1|0.5"})
histogram_quantile(NaN, seconds_bucket)
histogram_quantile(0.9, temperature)
histogram_quantile(0.5, sum without (instance) (increase(seconds_bucket[17m])))
double_exponential_smoothing(temperature[10m], 0.3, 0.6)
quantile_over_time(0.9, temperature[10m])
quantile_over_time(-1, temperature[10m])
max_over_time(rate(requests_total[5m])[20m:1m])
avg_over_time(temperature[20m:90s])
min_over_time((temperature > 20)[15m:30s] offset 1m)
sum_over_time(sum by (job) (requests_total)[10m:])
rate(sum_over_time(temperature[5m])[20m:1m])
last_over_time(temperature[1h:7m] @ 1790004007)
absent(nothing_of_that_name{job="a", x=~"y"})
absent(sum(nothing_of_that_name))
absent_over_time(nothing_of_that_name{job="a"}[5m])
scalar(temperature{room="kitchen"})
scalar(nothing_of_that_name)
vector(scalar(temperature{room="kitchen"})) + 1
sum(nothing_of_that_name)
count(temperature) > bool 2
topk(scalar(count(build_info)), temperature)
quantile(1.5, temperature)
quantile(-0.1, temperature)
{__name__=~"temp.*|sparse"}
{__name__="temperature", room=""}
{job="api", code!="200"}
sum({__name__=~".*_total"}) by (__name__)
count by (__name__) ({job=~".+"})
temperature{room=~"Kitchen"}
temperature{room=~"(?i:KITCHEN)"}
rate(temperature[1s])
increase(requests_total[15s])
irate(requests_total[31s])
sum(rate(requests_total[5m])) > 0 and vector(1)
(temperature + sparse) or temperature
temperature == on () group_left () max(temperature)
-temperature + -(-sparse)
sort_desc(sum by (job) (requests_total))
sum without (code) (rate(requests_total[5m])) / ignoring (version) group_left () (0 * build_info + 1)
day_of_year(temperature)
minute(vector(1790004007))
ceil(seconds_sum / seconds_count * 1000)
changes(requests_total[5m:15s])
deriv(temperature[10m:20s])
stddev by (job) (rate(requests_total[5m]))
avg(odd)
sum(odd)
min(odd)
max(odd)
odd > 0
topk(1, odd)
count_values("v", round(temperature))
temperature{
sum(temperature
rate(temperature)
temperature[5m]
foo bar
sum_over_time(temperature)
label_replace(temperature, "a", "b", "c", "(")
temperature + on (room) group_left () sum by (room) (sparse) + ignoring (x)
requests_total + on (job) requests_total
clamp(temperature, 5, 1)
""".strip().splitlines()
_UNDEFINED = "what Go makes of a NaN as a time is undefined, and differs between processors; here it is NaN"
_ATAN2 = "before 3.0 atan2 kept the metric's name, unlike every other operator"
EXCUSED = {
    **{f"{function}(odd)": _UNDEFINED for function in OF_CALENDAR},
    **{f"temperature atan2 {other}": _ATAN2 for other in ("20", "temperature", "sparse", "scalar(sparse)")},
    "20 atan2 temperature": _ATAN2,
    **{f"{left} atan2 {how} {right}": _ATAN2 for left, how, right in MATCHED if "group" in how or "ignoring" in how},
    "predict_linear(temperature[10m] @ 1790004007, 60)": "2.42 moves the window on with the steps all the same",
    "histogram_fraction(0, 1, seconds_bucket)": "before 3.0 it took native histograms alone",
}
"""Expressions that differ from 2.42's, with the reason."""


def expressions() -> Iterator[str]:
    """All that are asked, each once."""
    yield from (f"{function}({gauge}[{window}])" for function, gauge, window in product(OVER_TIME, GAUGES, WINDOWS))
    yield from (f"{function}({counter}[{window}])" for function, counter, window in product(OF_COUNTERS, COUNTERS, WINDOWS))
    yield from (f"{function}({gauge})" for function, gauge in product((*OF_ONE, *OF_CALENDAR), GAUGES[:1] + GAUGES[3:]))
    yield from (f"{function}()" for function in OF_CALENDAR)
    for aggregation, by in product(AGGREGATIONS, BY):
        operation, _, argument = aggregation.partition("(")
        yield f"{operation} {by} ({argument}requests_total)"
    yield from (
        f"temperature {operator} {other}" for operator, other in product(OPERATORS, ("20", "temperature", "sparse", "scalar(sparse)"))
    )
    yield from (f"20 {operator} temperature" for operator in OPERATORS)
    yield from (f"7 {operator} 20" for operator in OPERATORS if operator[0] not in "=!<>" or "bool" in operator)
    yield from (f"{left} {operator} {how} {right}" for operator, (left, how, right) in product(OPERATORS, MATCHED))
    yield from (f"{left} {operator} {how} {right}" for operator, (left, how, right) in product(("and", "or", "unless"), SET_MATCHED))
    yield from (f"{function}(temperature[20m:50s])" for function in OVER_TIME)
    yield from (f"{function}(requests_total[20m:50s])" for function in OF_COUNTERS)
    yield from (f"temperature {modifier}" for modifier in MODIFIED)
    yield from (f"{function}(requests_total[5m] {modifier})" for function, modifier in product(("rate", "max_over_time"), MODIFIED))
    yield from (f"max_over_time(sum by (job) (rate(requests_total[5m]))[15m:50s] {modifier})" for modifier in MODIFIED)
    yield from SINGLE
    maker = Maker(random.Random(SEED))
    yield from (maker.vector(3) for _ in range(MADE))


NEWER = {"histogram_avg", "histogram_stddev", "histogram_stdvar", "</", ">/"}
"""Functions and operators that 2.42 does not know, and that are no experiments."""
