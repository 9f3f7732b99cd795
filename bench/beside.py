r"""tael beside Tempo and Loki: the same spans and log records sent to all three by OTLP/HTTP, then the same questions to each in turn.

    python -m bench.beside --load --tael-otlp http://127.0.0.1:4318 --tael http://127.0.0.1:7701 \
        --tempo-otlp http://127.0.0.1:14318 --tempo http://127.0.0.1:3200 --loki http://127.0.0.1:3100 --pids tael=1,tempo=2,loki=3

Without --tempo or --loki that one, and its signal, is left out. It starts none of them. Times are within the hour before ``--end``, which
is printed and has to be given again to ask without ``--load``. bench/beside_data.py describes the data.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from bench.beside_data import RECORDS_A_REQUEST, TRACES_A_REQUEST, log_requests, span_requests


class Refused(Exception):
    """An answer that is an error, told as it came."""


class Server:
    """One server that is asked over one connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._prefix = parts.path
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)

    def post(self, path: str, body: bytes) -> None:
        """Send a request of OTLP."""
        self.body("POST", path, body)

    def body(self, method: str, target: str, body: bytes | None = None) -> bytes:
        """The body of the answer to a request, which has to succeed."""
        headers = {"Content-Type": "application/x-protobuf"} if body is not None else {"Accept": "application/json"}
        self._connection.request(method, self._prefix + target, body, headers)
        response = self._connection.getresponse()
        answer = response.read()
        if response.status >= 300:
            raise Refused(f"{method} {target}: {response.status} {answer[:300]!r}")
        return answer


@dataclass(frozen=True)
class Question:
    """What both are asked, with the count of results that has to agree; ``parameters`` may differ from run to run."""

    name: str
    path: str
    parameters: Callable[[int], dict[str, str]]
    results: Callable[[Any], object]


def _spans(answer: Any) -> int:
    batches = answer.get("batches") or answer["trace"]["resourceSpans"]
    return sum(len(scope["spans"]) for batch in batches for scope in batch["scopeSpans"])


def _points(answer: Any) -> object:
    return len(answer["series"]), round(sum(sample.get("value", 0) for series in answer["series"] for sample in series["samples"]), 2)


def _series(answer: Any) -> object:
    series = answer["data"]["result"]
    return len(series), sum(float(value) for one in series for _, value in one.get("values") or [one["value"]])


def _lines(answer: Any) -> int:
    return sum(len(stream["values"]) for stream in answer["data"]["result"])


def span_questions(end_s: int, ids: list[str], paths: list[str]) -> list[Question]:
    """What tael and Tempo are asked."""
    hour = {"start": str(end_s - 3_600), "end": str(end_s)}

    def search(name: str, text: str, limit: int = 20) -> Question:
        return Question(
            name,
            "/api/search",
            lambda at: {"q": text.replace("$", paths[at]), "limit": str(limit), **hour},
            lambda answer: len(answer["traces"]),
        )

    def metrics(name: str, text: str) -> Question:
        return Question(name, "/api/metrics/query_range", lambda _: {"q": text, "step": "60s", **hour}, _points)

    few = '{ resource.service.name = "service-19" && status = error }'
    return [
        Question("trace by id", "/api/v2/traces/$", lambda at: {"$": ids[at]}, _spans),
        search("search: rare attribute, another each time", '{ span.url.path = "$" }'),
        search("search: service and error, limit 20", '{ resource.service.name = "service-0" && status = error }'),
        search("search: service and error, all", few, 2_000),
        search("search: absent value", '{ span.url.path = "/nowhere" }'),
        search("search: structural, limit 20", '{ resource.service.name = "service-3" } >> { status = error }'),
        search("search: structural, all", f'{{ resource.service.name = "service-3" }} >> {few}', 2_000),
        metrics("rate() by service, 1 h", "{ } | rate() by (resource.service.name)"),
        metrics("rate() of errors by service, 1 h", "{ status = error } | rate() by (resource.service.name)"),
        metrics("quantile_over_time(duration) by service, 1 h", "{ } | quantile_over_time(duration, .5, .95) by (resource.service.name)"),
        Question(
            "tag names",
            "/api/v2/search/tags",
            lambda _: hour,
            lambda answer: sorted((s["name"], len(s["tags"])) for s in answer["scopes"] if s["name"] in ("span", "resource")),
        ),
        Question(
            "tag values: http.route", "/api/v2/search/tag/span.http.route/values", lambda _: hour, lambda answer: len(answer["tagValues"])
        ),
    ]


def log_questions(end_s: int, numbers: list[int]) -> list[Question]:
    """What tael and Loki are asked."""
    hour = {"start": str((end_s - 3_600) * 10**9), "end": str(end_s * 10**9)}

    def lines(name: str, text: str) -> Question:
        return Question(
            name, "/loki/api/v1/query_range", lambda at: {"query": text.replace("$", str(numbers[at])), "limit": "100", **hour}, _lines
        )

    def metric(name: str, text: str) -> Question:
        return Question(name, "/loki/api/v1/query_range", lambda _: {"query": text, "step": "60", **hour}, _series)

    return [
        lines("needle by text, another each time", '{k8s_namespace_name="shop"} |= "request $."'),
        lines("absent text", '{k8s_namespace_name="shop"} |= "nowhere"'),
        lines("by label, 100 lines", '{service_name="service-7"}'),
        lines("json with filter, 100 lines", '{service_name="service-7"} | json | status = 404 | took_ms > 890'),
        metric("count_over_time by service, 1 h", 'sum by (service_name) (count_over_time({k8s_namespace_name="shop"}[1m]))'),
        metric(
            "count of errors by service, 1 h",
            'sum by (service_name) (count_over_time({k8s_namespace_name="shop"} | detected_level="error" [1m]))',
        ),
        metric("count by level, one service, 1 h", 'sum by (detected_level) (count_over_time({service_name="service-7"}[1m]))'),
        metric("json and count by status, one service, 1 h", 'sum by (status) (count_over_time({service_name="service-7"} | json [1m]))'),
        metric(
            "json and sum by status, one service, 1 h",
            'sum by (status) (sum_over_time({service_name="service-7"} | json | unwrap took_ms [1m]))',
        ),
        metric(
            "json and quantile by status, one service, 1 h",
            'quantile_over_time(0.95, {service_name="service-7"} | json | unwrap took_ms [1m]) by (status)',
        ),
        Question(
            "volume by service",
            "/loki/api/v1/index/volume",
            lambda _: {"query": '{k8s_namespace_name="shop"}', "targetLabels": "service_name", **hour},
            lambda a: len(a["data"]["result"]),
        ),
        Question(
            "detected_fields, 1000 lines",
            "/loki/api/v1/detected_fields",
            lambda _: {"query": '{service_name="service-7"}', "line_limit": "1000", **hour},
            lambda a: sorted(f["label"] for f in a.get("fields") or []),
        ),
    ]


def seconds_asked(server: Server, question: Question, at: int) -> tuple[float, object]:
    """How long the answer took until its body was there, and its results."""
    parameters = dict(question.parameters(at))
    path = question.path.replace("$", parameters.pop("$", ""))
    target = f"{path}?{urlencode(parameters)}"
    start = time.perf_counter()
    try:
        answer = server.body("GET", target)
    except Refused as refused:
        return time.perf_counter() - start, str(refused)[-120:]
    return time.perf_counter() - start, question.results(json.loads(answer))


def compare(ours: Server, theirs: Server, questions: list[Question], runs: int, pids: dict[str, int]) -> None:
    """Ask both in turn and print a row of Markdown per question."""
    for question in questions:
        pairs_ms: list[tuple[float, float]] = []
        agree, shown = True, ""
        spent = dict.fromkeys(pids, 0.0)
        for at in range(runs + 1):
            took: list[tuple[float, object]] = []
            # Each server's CPU is that of the time of its own answer, for tael has processes that are never quite idle.
            for server, name in zip((ours, theirs), (*pids, "", ""), strict=False):
                before = usage(pids)
                took.append(seconds_asked(server, question, at))
                if at and name:
                    spent[name] += usage(pids)[name][0] - before[name][0]
            (mine, found), (other, expected) = took
            agree = agree and found == expected
            shown = str(found) if agree else f"{found} / {expected}"
            if isinstance(found, str) or isinstance(expected, str):
                break
            if at:
                pairs_ms.append((mine * 1e3, other * 1e3))
        if not pairs_ms:
            print(f"| {question.name} | refused: {shown[:400]} |", flush=True)
            continue
        cpu = " / ".join(f"{seconds * 1e3 / runs:.0f}" for seconds in spent.values())
        cells = []
        for side in zip(*pairs_ms, strict=True):
            ordered = sorted(side)
            cells += [statistics.median(ordered), ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]]
        print(
            f"| {question.name} | {cells[0]:.0f} / {cells[1]:.0f} | {cells[2]:.0f} / {cells[3]:.0f} | {cells[2] / cells[0]:.1f} | {cpu} | {'same: ' + shown[:60] if agree else shown[:400]} |",
            flush=True,
        )


def usage(pids: dict[str, int]) -> dict[str, tuple[float, int]]:
    """CPU seconds and resident MiB of each process with all its descendants."""
    parents: dict[int, int] = {}
    spent: dict[int, tuple[float, int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(entry.name)] = int(fields[1])
        spent[int(entry.name)] = (
            (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
            int(fields[21]) * os.sysconf("SC_PAGE_SIZE") >> 20,
        )
    totals = {}
    for name, root in pids.items():
        family = {root}
        while more := {pid for pid, parent in parents.items() if parent in family} - family:
            family |= more
        totals[name] = sum(spent[pid][0] for pid in family if pid in spent), sum(spent[pid][1] for pid in family if pid in spent)
    return totals


def _of(pids: dict[str, int], *names: str) -> dict[str, int]:
    return {name: pids[name] for name in names if name in pids}


def report(title: str, before: dict[str, tuple[float, int]], pids: dict[str, int]) -> None:
    """Print what each has used since."""
    for name, (cpu, mib) in usage(pids).items():
        print(f"{title}: {name} {cpu - before[name][0]:.1f} s of CPU, {mib:,} MiB resident", flush=True)
    print("load average", os.getloadavg(), flush=True)


def load(arguments: argparse.Namespace, end_s: int) -> None:
    """Send the same bytes to all, one after another."""
    ours = Server(arguments.tael_otlp)
    if arguments.tempo:
        spans = Server(arguments.tempo_otlp)
        for body, _, _ in span_requests(arguments.traces, end_s):
            ours.post("/v1/traces", body)
            spans.post("/v1/traces", body)
    if arguments.loki:
        logs = Server(arguments.loki)
        for body, _ in log_requests(arguments.records, end_s):
            ours.post("/v1/logs", body)
            logs.post("/otlp/v1/logs", body)
        logs.post("/flush", b"")


def main() -> None:
    """Load, then ask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("tael", "tael-otlp", "tempo", "tempo-otlp", "loki"):
        parser.add_argument(f"--{name}", required=name.startswith("tael"), metavar="URL")
    parser.add_argument("--load", action="store_true", help="send the data first")
    parser.add_argument("--settle", type=float, default=90, help="seconds between sending and asking, for blocks to be written")
    parser.add_argument("--end", type=int, default=int(time.time()) // 60 * 60, help="Unix time of the end of the hour")
    parser.add_argument("--traces", type=int, default=50_000)
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--pids", default="", metavar="NAME=PID,…", help="whose CPU and memory to report, with all descendants")
    parser.add_argument("--no-ask", action="store_true", help="only load")
    arguments = parser.parse_args()
    pids = {name: int(pid) for name, _, pid in (one.partition("=") for one in arguments.pids.split(",") if one)}
    print("--end", arguments.end, flush=True)
    if arguments.load:
        before = usage(pids)
        load(arguments, arguments.end)
        time.sleep(arguments.settle)
        report("load", before, pids)
    if arguments.no_ask:
        return
    before, ends, runs = usage(pids), arguments.end, arguments.runs
    if arguments.tempo:
        picked = [(trace, path) for _, trace, path in span_requests(min(arguments.traces, TRACES_A_REQUEST * (runs + 1)), ends)]
        questions = span_questions(ends, [trace for trace, _ in picked], [path for _, path in picked])
        compare(Server(f"{arguments.tael}/tempo"), Server(arguments.tempo), questions, runs, _of(pids, "tael", "tempo"))
    if arguments.loki:
        numbers = [number for _, number in log_requests(RECORDS_A_REQUEST * (runs + 1), ends)]
        compare(Server(arguments.tael), Server(arguments.loki), log_questions(ends, numbers), runs, _of(pids, "tael", "loki"))
    report("asking", before, pids)


if __name__ == "__main__":
    main()
