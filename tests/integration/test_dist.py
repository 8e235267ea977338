"""What would be released: the files that `make dist` builds, looked into; the demo from the wheel where that is asked for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.dist.__main__ import absolute, build, faults_of, find_python, run_demo

if TYPE_CHECKING:
    from pathlib import Path

HOMEPAGE = "https://example.org/owner/wdstools/blob/main"


def test_the_files_hold_what_they_should_and_readme_links_can_be_absolute(tmp_path: Path) -> None:
    built = build(tmp_path / "dist", HOMEPAGE)
    assert [path.suffix for path in built] == [".gz", ".whl"]
    assert [faults_of(path, HOMEPAGE) for path in built] == [[], []]


def test_relative_links_are_seen_where_they_should_not_be(tmp_path: Path) -> None:
    (_, wheel) = build(tmp_path / "dist", "")
    assert any("README links to FORMAT.md" in fault for fault in faults_of(wheel, HOMEPAGE))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](docs/a.md#b)", f"[a]({HOMEPAGE}/docs/a.md#b)"),
        ("![a](docs/a.png)", "![a](https://example.org/owner/wdstools/raw/main/docs/a.png)"),
        (
            "[![a](docs/a.png) b](c.md)",
            f"[![a](https://example.org/owner/wdstools/raw/main/docs/a.png) b]({HOMEPAGE}/c.md)",
        ),
        ("[a](https://x.org/a)", "[a](https://x.org/a)"),
        ("[a](#here) [b](mailto:a@b.c)", "[a](#here) [b](mailto:a@b.c)"),
    ],
)
def test_links_are_made_absolute(text: str, expected: str) -> None:
    assert absolute(text, HOMEPAGE + "/") == expected


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_the_demo_runs_from_the_wheel_alone(version: str, tmp_path: Path) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    assert run_demo(python, build(tmp_path / "dist", "")[-1]) == []


def test_this_python_is_found() -> None:
    assert find_python(".".join(map(str, sys.version_info[:2]))) == sys.executable
