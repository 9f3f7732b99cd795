"""``| line_format "{{.a}}"`` and ``| label_format a=b, c="{{.d}}"``: lines and labels rewritten by Go templates."""

from __future__ import annotations

from typing import Final

from tael.logql.ast import LabelFormat, LabelFormatting, LineFormat
from tael.logql.errors import ERROR
from tael.logql.row import Row
from tael.logql.stages import Run
from tael.logql.template import Template, TemplateError

TEMPLATE_ERROR: Final = "TemplateFormatErr"


def line_format(stage: LineFormat, now_ns: int) -> Run:
    """The stage as a function. Raises ValueError for an invalid template."""
    try:
        template = Template("line", stage.template, now_ns)
    except TemplateError as problem:
        raise ValueError(f"invalid line template: {problem}") from None
    single = template.single_field()

    def run(row: Row) -> bool:
        if single:
            row.line = row.get(single) or ""
            return True
        try:
            row.line = template.execute(row.labels(), row.line, row.timestamp_ns)
        except TemplateError as problem:
            row.error, row.details = TEMPLATE_ERROR, str(problem)
        return True

    return run


def label_format(stage: LabelFormat, now_ns: int) -> Run:
    """The stage as a function. Raises ValueError for an invalid template, and for a label that is set twice."""
    _checked(stage.formats)
    formats = [(one, None if one.rename else _template(one, now_ns)) for one in stage.formats]

    def run(row: Row) -> bool:
        fields: dict[str, str] | None = None
        for one, template in formats:
            if template is None:
                _rename(row, one)
                continue
            fields = row.labels() if fields is None else fields
            try:
                row.set(one.name, template.execute(fields, row.line, row.timestamp_ns))
            except TemplateError as problem:
                row.error, row.details = TEMPLATE_ERROR, str(problem)
        return True

    return run


def line_names(stage: LineFormat) -> list[str]:
    """The labels that a line's template reads."""
    return Template("line", stage.template, 0).fields()


def label_names(stage: LabelFormat) -> list[str]:
    """The labels that ``label_format`` reads."""
    return [name for one in stage.formats for name in ([one.value] if one.rename else _template(one, 0).fields())]


def _rename(row: Row, one: LabelFormatting) -> None:
    value = row.get(one.value)
    if value is not None:
        row.set(one.name, value)
        row.delete(one.value)


def _template(one: LabelFormatting, now_ns: int) -> Template:
    try:
        return Template("label", one.value, now_ns)
    except TemplateError as problem:
        raise ValueError(f"invalid template for label '{one.name}': {problem}") from None


def _checked(formats: tuple[LabelFormatting, ...]) -> None:
    names = [one.name for one in formats]
    for name in names:
        if name == ERROR:
            raise ValueError(f"{name} cannot be formatted")
        if names.count(name) > 1:
            raise ValueError(f"multiple label name '{name}' not allowed in a single format operation")
