"""The rules of the rooms are complete: every module that is documented as pure is under the contract, and every API folder is served."""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterator
from pathlib import Path

from services.query.apis import APIS

ROOT = Path(__file__).parents[2]


def modules() -> Iterator[tuple[str, str]]:
    """Every module of the product with its docstring."""
    for room in ("tael", "services"):
        for path in (ROOT / room).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            yield name, ast.get_docstring(ast.parse(path.read_text())) or ""


def test_modules_that_call_themselves_pure_are_under_the_contract() -> None:
    law = configparser.ConfigParser()
    law.read(ROOT / ".importlinter")
    contract = law["importlinter:contract:pure"]["source_modules"].split()
    claims = {name for name, text in modules() if re.search(r"\b[Pp]ure\b", text)} - {"tael.cluster", "services.ingest.limits"}
    assert claims
    assert {name for name in claims if not any(name == room or name.startswith(f"{room}.") for room in contract)} == set()


def test_every_api_folder_is_served() -> None:
    folders = {path.parent.name for path in (ROOT / "services/query/api").glob("*/__init__.py")}
    served = {api.__module__.removeprefix("services.query.api.") for api in APIS}
    assert served == folders | {"process"}
