"""Documents of a product: templates in ``templates/``, filled in with values in ESA's notation."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from jinja2 import Environment


def render_document(template: str, **values: object) -> str:
    """Fill in a template, without a final line break.

    Parameters
    ----------
    template : str
        Its file name without ``.j2``.
    values : object
        What its names stand for. Numbers, flags and times are written as ESA writes them.
    """
    return _load_templates().get_template(f"{template}.j2").render(values).rstrip("\n")


def format_value(value: object) -> object:
    """Write a flag, a number with a fraction or a UTC time as annotation does; other values stay."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.15e}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%S.%f}"
    return value


def _format_numbers(tag: str, values: Iterable[float], spec: str = ".6e") -> Markup:
    """Write an element of numbers in one text, with their ``count``."""
    texts = [format(value, spec) for value in values]
    return Markup('<{0} count="{1}">{2}</{0}>').format(tag, len(texts), " ".join(texts))


@cache
def _load_templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("topsar.simulate"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=format_value,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,  # of a template that another one includes
    )
    environment.filters["e6"] = "{:.6e}".format
    environment.globals["numbers"] = _format_numbers
    return environment
