"""HTML pages: one template a page, all of them extending ``page.html``; each is one file that needs nothing else."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

_UNITS = ("B", "kB", "MB", "GB", "TB")


def render_page(template: str, **values: object) -> str:
    """The HTML text of ``templates/TEMPLATE``, with these values in it.

    Every value is escaped; a name that the template asks for and nobody gave is an error. The page allows itself
    nothing from outside (Content-Security-Policy): styles and scripts are in it, pictures are ``data:`` or SVG. The
    same values give the same bytes.
    """
    return _environment().get_template(template).render(values)


def count(number: float) -> str:
    """A number for people, about three digits where it is small: ``12,346``, ``215``, ``6.1``, ``0.04``."""
    if abs(number) >= 99.95 or number == int(number):
        return f"{number:,.0f}"
    return f"{number:.1f}" if abs(number) >= 9.95 else f"{number:.2g}"


def size(number: float) -> str:
    """Bytes for people, in powers of 1000."""
    for unit in _UNITS[:-1]:
        if abs(number) < 999.5:
            return f"{count(number)} {unit}"
        number /= 1000
    return f"{count(number)} {_UNITS[-1]}"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("wdstools.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(count=count, size=size)
    return made
