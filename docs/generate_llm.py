"""Generates the tables of docs/llm.md from tael/otlp/dialects.toml; `make docs` writes them, `make check` reports when they are stale."""

from __future__ import annotations

import sys
from pathlib import Path

from tael.otlp.genai import COMPLETION_KEYS, COMPLETION_PREFIXES, DIALECTS, EVERY_MEMBER, MARKER_PREFIXES, PROMPT_KEYS, PROMPT_PREFIXES

OUTPUT = Path(__file__).with_name("llm.md")


def generate(page: str) -> str:
    """The page with its tables generated from the data; each is between `<!-- name -->` and `<!-- /name -->`."""
    for name, made in (
        ("columns", _columns()),
        ("operations", _operations()),
        ("implied", _implied()),
        ("providers", _providers()),
        ("texts", _texts()),
        ("events", _events()),
    ):
        page = _with_table(page, name, made)
    return page


def _with_table(page: str, name: str, table: str) -> str:
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, begins, rest = page.partition(begin)
    _, ends, after = rest.partition(end)
    if not begins or not ends:
        raise ValueError(f"docs/llm.md has no place for the table {name}")
    return f"{before}{begin}{table}{end}{after}"


def _columns() -> str:
    rows = []
    for name, column in DIALECTS["columns"].items():
        for index, (dialect, key) in enumerate(column["keys"]):
            rows.append(f"| {f'`{name}`' if index == 0 else ''} | {column['about'] if index == 0 else ''} | {_key(key)} | {dialect} |\n")
        rows += [f"|  |  | else the sum of {' and '.join(map(_key, keys))} | {dialect} |\n" for dialect, keys in column.get("sums", ())]
    return "| column | what it says | attribute | dialect |\n| --- | --- | --- | --- |\n" + "".join(rows)


def _key(key: str) -> str:
    name, _, member = key.partition("|")
    if member == EVERY_MEMBER:
        return f"all members of `{name}`"
    return f"`{name}`, member `{member.replace('|', '.')}`" if member else f"`{name}`"


def _operations() -> str:
    rows = "".join(f"| `{operation}` | {_listed(names)} |\n" for operation, names in DIALECTS["operations"].items())
    return f"| kind | names, in any case |\n| --- | --- |\n{rows}| `other` | every other |\n"


def _implied() -> str:
    rows = "".join(f"| `{key}` | {dialect} | `{operation}` |\n" for dialect, key, operation in DIALECTS["implied"]["operation"])
    return "| attribute | dialect | kind |\n| --- | --- | --- |\n" + rows


def _providers() -> str:
    rows = "".join(f"| `{provider}` | {_listed(names)} |\n" for provider, names in DIALECTS["providers"].items())
    return "| provider | other spellings |\n| --- | --- |\n" + rows


def _texts() -> str:
    starts = {
        "prompts": (PROMPT_KEYS, PROMPT_PREFIXES),
        "completions": (COMPLETION_KEYS, COMPLETION_PREFIXES),
        "a span of an LLM": ((), MARKER_PREFIXES),
    }
    rows = "".join(
        f"| {name} | {_listed([*keys, *(f'{prefix}*' for prefix in prefixes)])} |\n" for name, (keys, prefixes) in starts.items()
    )
    return "| | attributes |\n| --- | --- |\n" + rows


def _events() -> str:
    rows = "".join(f"| `{name}` | {role or 'as its attributes say'} |\n" for name, role in DIALECTS["events"].items())
    return "| event | whose words |\n| --- | --- |\n" + rows


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` return 1 when it is stale."""
    page = OUTPUT.read_text()
    text = generate(page)
    if arguments == ["--check"]:
        if text != page:
            sys.stderr.write("docs/llm.md is stale: make docs\n")
        return int(text != page)
    OUTPUT.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
