"""The lines that the processes of the suite write to the terminal that they share."""

from __future__ import annotations

import io
import json

import pytest

from services.serve.lines import Lines


def test_lines_are_prefixed_with_the_process() -> None:
    out = io.StringIO()
    lines = Lines(out, ["serve", "ingest"], colour=False)
    lines.write("serve", "ready")
    lines.write("ingest", '{"event": "receiving"}')
    assert out.getvalue() == 'serve  | ready\ningest | {"event": "receiving"}\n'


def test_json_output_is_one_object_a_line_for_every_process() -> None:
    """Lines of our processes are unchanged; NATS, the supervisor and tracebacks get the same members."""
    out = io.StringIO()
    lines = Lines(out, ["serve", "ingest", "nats"], colour=True, as_json=True)
    ours = '{"event": "receiving", "service": "ingest", "level": "info"}'
    for name, line in (("ingest", ours), ("nats", "[7] [WRN] slow »"), ("serve", "{not JSON"), ("ingest", "Traceback")):
        lines.write(name, line)
    first, *others = out.getvalue().splitlines()
    assert first == ours
    said = [json.loads(line) for line in others]
    assert [(one["service"], one["event"]) for one in said] == [
        ("nats", "[7] [WRN] slow »"),
        ("serve", "{not JSON"),
        ("ingest", "Traceback"),
    ]
    assert all(one.keys() == {"event", "service", "node", "level", "timestamp"} for one in said)


@pytest.mark.parametrize("as_json", [True, False])
def test_a_closed_terminal_does_not_stop_the_suite(as_json: bool) -> None:
    class Gone(io.StringIO):
        def write(self, _: str, /) -> int:
            raise BrokenPipeError

    Lines(Gone(), ["serve"], colour=False, as_json=as_json).write("serve", "ready")
