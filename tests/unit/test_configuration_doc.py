"""The configuration page matches the settings models."""

from __future__ import annotations

from docs.generate_configuration import OUTPUT, SCHEMA, generate, generate_schema, groups
from services import wiring
from tael.runtime.config import takes, variables


def test_the_page_is_fresh() -> None:
    """`make docs` writes it; nobody edits it."""
    assert OUTPUT.read_text() == generate(), "docs/configuration.md is stale: make docs"


def test_the_charts_schema_knows_every_setting() -> None:
    assert SCHEMA.read_text() == generate_schema(SCHEMA.read_text()), "values.schema.json is stale: make docs"


def test_every_variable_is_on_the_page() -> None:
    page = OUTPUT.read_text()
    missing = [name for model in wiring.all_settings() for name in variables(model) if f"| `{name}` |" not in page]
    assert missing == []


def test_every_variable_is_described() -> None:
    bare = [name for model in wiring.all_settings() for name, field in variables(model).items() if not field.description]
    assert bare == []


def test_a_variable_that_two_groups_declare_has_one_default() -> None:
    """The supervisor and the service that it passes a variable on to must agree."""
    defaults: dict[str, set[str]] = {}
    for group in groups():
        for name, field in variables(group).items():
            defaults.setdefault(name, set()).add(str(field.default))
    assert {name: values for name, values in defaults.items() if len(values) > 1} == {}


def test_every_setting_says_what_it_takes() -> None:
    """A type without words of its own would say "one of", and nothing after it."""
    bare = [name for model in wiring.all_settings() for name, field in variables(model).items() if takes(field).words in ("", "one of")]
    assert bare == []
