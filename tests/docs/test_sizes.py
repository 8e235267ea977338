"""What an installation weighs is said of the packages that it has."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT
from tests.docs.running import maker


def test_the_table_names_the_large_packages_that_are_needed() -> None:
    sizes = maker("make_sizes")
    said = (ROOT / "docs" / "install.md").read_text("utf-8")
    needed = {name for extra in sizes.EXTRAS for name in sizes.needed("wdstools", extra)}
    large = set(re.findall(r"([a-z0-9-]+) \d{2,}[,| ]", re.findall(r"^\| `wdstools`.*$", said, re.MULTILINE)[0]))
    assert {"pyarrow", "numpy", "pillow"} <= large
    assert large - {"more"} <= needed, "run: python docs/make_sizes.py"
