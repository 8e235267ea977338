"""HTML pages: one template per page, all extending ``page.html``; each page is one self-contained file."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from wdstools.report.text import exact, readable
from wdstools.units import count, size

if TYPE_CHECKING:
    from jinja2 import Environment


def render_page(template: str, **values: object) -> str:
    """The HTML text of ``templates/TEMPLATE``, with these values in it.

    Every value is escaped; a name that the template uses without a value is an error. The page may load nothing from
    outside (Content-Security-Policy): it contains its styles and scripts, and pictures are ``data:`` or SVG. The same
    values give the same bytes.
    """
    return _environment().get_template(template).render(values)


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
    made.filters.update(count=count, size=size, readable=readable, exact=exact)
    return made
