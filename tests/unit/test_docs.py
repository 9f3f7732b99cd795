"""Everything that the documents name exists: files, targets of make, commands of tael, settings, links and anchors; decisions are listed in
order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tael.cli import main

ROOT = Path(__file__).parents[2]
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "deploy").rglob("*.md"))]
SOURCES = [path for room in ("tael", "services") for path in sorted((ROOT / room).rglob("*.py")) if "pb" not in path.parts]
MADE = {"deploy/.env"}
"""Files that an operator creates; the documents say how."""
GONE = {"TAEL_WAL_KEEP_BYTES"}
"""Settings that no longer exist; decisions still name them."""
FOLDERS = "tael|services|tests|bench|docs|deploy|proto|scripts|release|examples"
each_doc = pytest.mark.parametrize("doc", DOCS, ids=lambda doc: str(doc.relative_to(ROOT)))


def code_of(doc: Path) -> Iterator[str]:
    """The parts of a document that are code: lines of code blocks, and text between backticks."""
    inside = False
    for line in doc.read_text().splitlines():
        if line.lstrip().startswith("```"):
            inside = not inside
        elif inside:
            yield line
        else:
            yield from re.findall(r"`([^`]+)`", line)


def paths_in(text: str) -> Iterator[str]:
    """Paths of the repository, without those of kubectl (deploy/NAME is a Deployment there)."""
    if "kubectl" not in text:
        yield from (path.rstrip(".") for path in re.findall(rf"(?<![\w/.:-])((?:{FOLDERS})/[\w./-]+)", text))


def anchors(doc: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in re.findall(r"(?m)^#+ (.*)$", doc.read_text())}


@each_doc
def test_every_file_that_is_named_exists(doc: Path) -> None:
    named = {path for code in code_of(doc) for path in paths_in(code)} - MADE
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@each_doc
def test_every_module_that_is_named_by_its_end_exists(doc: Path) -> None:
    """Such as `merged.py` after the path of a module in the same folder."""
    known = [f"/{path.relative_to(ROOT)}" for folder in FOLDERS.split("|") for path in (ROOT / folder).rglob("*.py")]
    for name in re.findall(r"`([\w/]+\.py)`", doc.read_text()):
        assert any(path.endswith(f"/{name}") for path in known), name


@each_doc
def test_names_that_the_docs_place_in_a_module_exist_there(doc: Path) -> None:
    for name, path in re.findall(r"`([A-Za-z_]\w+)` in `([\w/]+\.py)`", doc.read_text()):
        assert re.search(rf"\b{name}\b", (ROOT / path).read_text()), (name, path)


@pytest.mark.parametrize("doc", [*DOCS, ROOT / "bench" / "RESULTS.md", ROOT / "CHANGELOG.md"], ids=lambda doc: str(doc.relative_to(ROOT)))
def test_every_link_leads_somewhere(doc: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", doc.read_text()):
        if "://" not in link:
            file, _, anchor = link.partition("#")
            target = doc.parent / file if file else doc
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


@each_doc
def test_every_target_of_make_exists(doc: Path) -> None:
    targets = set(re.findall(r"(?m)^([a-z][a-z -]*):", (ROOT / "Makefile").read_text()))
    known = {name for line in targets for name in line.split()}
    named = {name for code in code_of(doc) for name in re.findall(r"^(?:\$ )?make ([a-z][a-z-]+)", code)}
    assert named - known == set()


@each_doc
def test_every_command_of_tael_exists(doc: Path) -> None:
    for code in code_of(doc):
        found = re.match(r"(?:\$ )?(?:\.venv/bin/)?tael((?: +--format \w+)?(?: +[a-z]+)+)", code)
        words = [] if found is None else re.sub("--format \\w+", "", found[1]).split()
        group: click.Command | None = main
        while words and isinstance(group, click.Group):
            group = group.get_command(click.Context(group), words.pop(0))
            assert group is not None, code


@each_doc
def test_every_setting_that_is_named_exists(doc: Path) -> None:
    known = set(re.findall(r"\bTAEL_[A-Z0-9_]+[A-Z0-9]", (ROOT / "docs" / "configuration.md").read_text()))
    code = "\n".join(path.read_text() for path in [*SOURCES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "deploy").rglob("*.y*ml")])
    named = set(re.findall(r"\bTAEL_[A-Z0-9_]+[A-Z0-9]\b", doc.read_text())) - known - GONE
    assert [name for name in sorted(named) if name not in code] == []


def test_decisions_are_listed_in_their_order() -> None:
    folder = ROOT / "docs" / "adr"
    listed = re.findall(r"(?m)^\| \[(\d{4})\]\(([^)]+)\)", (folder / "README.md").read_text())
    files = sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert [name for _, name in listed] == files
    assert all(name.startswith(f"{number}-") for number, name in listed)


def test_every_document_that_code_names_exists() -> None:
    """A decision may be named by its number alone."""
    for source in SOURCES:
        for name in re.findall(r"(?<![\w/.])docs/[\w./-]*\w", source.read_text()):
            found = (ROOT / name).exists() or any((ROOT / "docs" / "adr").glob(f"{Path(name).name}-*.md"))
            assert found, f"{source.relative_to(ROOT)} names {name}"
