"""Writes the table of installed sizes in docs/install.md: ``python docs/make_sizes.py``, from the installed packages."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PAGE = Path(__file__).with_name("install.md")
EXTRAS = ("view", "cloud", "hub", "sign", "heic")
_BETWEEN = re.compile(r"(?<=<!-- sizes: begin -->\n).*?(?=<!-- sizes: end -->)", re.DOTALL)
_SHOWN = 1 << 20


def needed(name: str, extra: str = "") -> dict[str, Distribution]:
    """Every package that a package needs here, including itself, by canonical name."""
    found: dict[str, Distribution] = {}
    waiting = [(name, extra)]
    while waiting:
        package, wanted = waiting.pop()
        try:
            here = distribution(package)
        except PackageNotFoundError:
            continue
        found[canonicalize_name(package)] = here
        for text in here.requires or ():
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({"extra": wanted}):
                continue
            short = canonicalize_name(requirement.name)
            waiting.extend((requirement.name, more) for more in ("", *requirement.extras) if short not in found or more)
    return found


def size_of(package: Distribution) -> int:
    """The size of its files on disk."""
    paths = (Path(str(file.locate())) for file in package.files or () if not str(file).endswith(".pyc"))
    return sum(path.stat().st_size for path in paths if path.is_file())


def _row(title: str, packages: dict[str, Distribution]) -> str:
    sizes = sorted(((size_of(package), name) for name, package in packages.items()), reverse=True)
    large = [f"{name} {size / 1e6:.0f}" for size, name in sizes if size >= _SHOWN]
    rest = [size for size, _ in sizes if size < _SHOWN]
    others = f", {len(rest)} more {sum(rest) / 1e6:.0f}" if rest else ""
    return f"| {title} | {sum(size for size, _ in sizes) / 1e6:.0f} | {', '.join(large) or 'none above 1'}{others} |"


def table() -> str:
    """The table: a row for wdstools itself, and one for what each extra adds."""
    seen = needed("wdstools")
    rows = [
        "| | MB in all | MB by package |",
        "|---|---:|---|",
        _row("`wdstools`", {k: v for k, v in seen.items() if k != "wdstools"}),
    ]
    for extra in EXTRAS:
        added = {name: package for name, package in needed("wdstools", extra).items() if name not in seen}
        rows.append(_row(f"`[{extra}]` adds", added))
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(_BETWEEN.sub(lambda _: table(), PAGE.read_text("utf-8")), "utf-8")
