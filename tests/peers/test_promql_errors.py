"""Errors of expressions, compared with those of a real Prometheus: type, position and text of each, and expressions that are valid.

Debian's Prometheus is 2.42; where 3 says or does something else, the reason is below.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.peers.conftest import lacking
from tests.support.doubles import MemorySpans
from tests.support.prometheus import Prometheus, ask, installed
from tests.support.query import serving

_DURATIONS = "since 3.0 numbers are durations and durations numbers, and they may be calculated"
_NUMBERS = "since 3.0 numbers and durations are read alike, and underscores may part digits"
_UTF8 = "since 3.0 labels may have names of any text"
_REGEXP = "since 2.53 the text names the pattern as it was given"
_AT = "2.42 prints a token's number"
_NEWER = "2.42 does not know it"
EXCUSED = {
    "x[": _DURATIONS,
    "x[5": _DURATIONS,
    "x[]": _DURATIONS,
    "x[-5m]": _DURATIONS,
    "x[5m:-1s]": _DURATIONS,
    "x offset": _DURATIONS,
    "x offset 5": _DURATIONS,
    "x offset a": _DURATIONS,
    "5m": _DURATIONS,
    "5m + 1": _DURATIONS,
    "1m1h": _DURATIONS,
    "5y5y": _DURATIONS,
    "x[1us]": _DURATIONS,
    "5m[x]": _DURATIONS,
    "x @ 5m": _DURATIONS,
    "x offset +5m": _DURATIONS,
    "1e": _NUMBERS,
    "1e+": _NUMBERS,
    "1.2.3": _NUMBERS,
    "1_000": _NUMBERS,
    "1..2": _NUMBERS,
    "x{'a'='b'}": _UTF8,
    "count_values('a b', x)": _UTF8,
    "x{a=~'['}": _REGEXP,
    "@": _AT,
    "limitk(1,x)": _NEWER,
}

QUERIES = r"""
sum(
sum by
sum by (a
sum by (a,) (x)
sum by (,) (x)
sum without (a b) (x)
sum(x) by (a) by (b)
topk(x)
topk(1)
topk(1,2,3)
topk('a', x)
count_values(1, x)
quantile(x, x)
rate(x)
rate(x[5m], 1)
rate()
rate(x[5m]
rate(x[5m]))
x[
x[5
x[5m
x[]
x[0m]
x[-5m]
x[5m:
x[5m:1m
x[5m:0s]
x[5m:-1s]
x offset
x offset 5
x offset a
x[5m] offset 1m offset 2m
x offset 1m offset 2m
x @
x @ a
x @ 1 @ 2
x @ start
x @ start()
x @ foo()
x[5m] @ end() [1m:]
x @ NaN
x @ Inf
x @ 1e30
1 offset 1m
(x) offset 1m
x + y offset 1m
+
*
* x
x *
x ** y
x == bool
1 == 2
1 == bool 2
x and 1
1 and x
x and bool y
x + bool y
x + on a y
x + on(a y
x + on(a) group_left y
x + group_left(a) y
x + on(a) group_left(a) y
x and on(a) group_left(b) y
x or on(a) group_right y
1 + on(a) 2
x + on(a) 1
'a' + 1
'a' + 'b'
x + 'a'
'a'
-'a'
-x[5m]
x[5m] + 1
x{
x{a
x{a=
x{a=}
x{a='b'
x{a='b',,}
x{,}
x{a='b' c='d'}
x{a==='b'}
x{a=b}
x{'a'='b'}
x{a=~'['}
x{a=~'(?=x)'}
{}
{a=''}
{a=~'.*'}
{a!~'x'}
x{__name__='y'}
{__name__='x',__name__='y'}
x{a='b'}[5m]{c='d'}
x y
x 1
1 x
1 1
x(
foo(x)
foo()
abs()
abs(x, y)
abs(1)
abs(x[5m])
vector(x)
scalar(1)
time(1)
label_replace(x, 'a')
label_replace(x, 1, 'b', 'c', 'd')
label_join(x)
label_join(x, 'a', 'b', 'c', 1)
round(x, y)
histogram_quantile('a', x)
clamp(x)
absent(1)
absent(x[5m])
absent_over_time(x)
sum_over_time(sum(x))
sum_over_time(sum(x)[5m])
sum_over_time(sum(x)[5m:])
1[5m:]
'a'[5m:]
x[5m][5m:]
x[5m:][5m]
sum(x[5m])
sum('a')
sum(1)
sum()
sum(x, y)
sum x
sum by (a) x
by (a) sum(x)
bool
on
x unless
unless x
0x
0xg
1e
1e+
1.2.3
1_000
1..2
5m
5m + 1
5mm
1h30
1m1h
5y5y
1s1ms1us
x[1us]
x[1.5m]
"abc
'abc
`abc
'\z'
'\x1'
'\u12'
'\400'
#c
x #c
x;
x!
x!=
x!y
x=y
x=~y
x~y
~
@
$x
x$
x&y
x|y
x?
{a}
{a,b}
x{a!b}
x{a=~b}
x{1='a'}
x{a.b='c'}
a.b
a:b
a::b:
:a
a-b
x{a='b'}{c='d'}
()
(x
x)
((x)
(x))
[5m]
5m[x]
x[5m] [5m]
NaN
nan
Inf
inf
+Inf
-Inf
InF
infinity
x % 0
sum(x) by
sum(x) without
count_values('a b', x)
count_values('', x)
topk()
limitk(1,x)
x @ -1
x @ +1
x @ 0x10
x @ 5m
x offset -5m
x offset +5m
x offset - 5m
x[5m]offset 5m
x[5m:30s] offset -1m
ignoring
x + ignoring y
x ignoring(a) y
x + group_left y
x > bool on(a) y
x > on(a) bool y
group_left
x{a='b',}
x{a='\d'}
x{a=~'\d'}
x{a=~'\\d'}
atan2
x atan2 y
x atan2
x^-1
-x^2
2^-x
!x
x!=1
x !~ 'a'
x =~ 'a'
x{a=`b`}
日本
x{日本='a'}
x{a='日本'} +
""".strip().splitlines()
ODD = ("1 + ", '"a\nb"', "x # c\n + y", "x # c\n + ", "x\n+\ny\n+", "\ufeffx", "x\xa0")
"""Of more than one line, or with characters that are not seen."""


async def test_errors_have_the_same_words(tmp_path: Path) -> None:
    if not installed():
        lacking("Prometheus", "apt-get install prometheus")
    differing, excused = [], set()
    with Prometheus(tmp_path / "prometheus") as prometheus:
        async with serving(MemorySpans()) as api:
            for query in (*QUERIES, *ODD):
                theirs, ours = [await asyncio.to_thread(_result, url, query) for url in (prometheus.url, api.url)]
                if theirs != ours and query in EXCUSED:
                    excused.add(query)
                elif theirs != ours:
                    differing.append(f"{query}\n    theirs {theirs}\n    ours   {ours}")
    assert excused == set(EXCUSED), "what no longer differs needs no excuse"
    assert not differing, "\n".join(differing)


def _result(url: str, query: str) -> Any:
    answer, _ = ask(url, "query", query=query, time=4)
    return {name: answer.get(name) for name in ("status", "errorType", "error", "data")}
