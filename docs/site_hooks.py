"""What `mkdocs build` does in addition: pages from outside docs/, links between the two, and the pages of the Python API.

Pages are written for the repository, where links lead from file to file. On the site FORMAT.md, DESIGN.md and the like
have addresses of their own, a linked script or module becomes a page that shows it, and docs/api.md gives way to
pages that mkdocstrings makes of the same docstrings. A link to anything that is not there fails the build.
"""

from __future__ import annotations

import importlib.util
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
#: Documents outside docs/, and their places on the site.
DOCUMENTS = {
    "FORMAT.md": "format.md",
    "DESIGN.md": "design.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "manifests/README.md": "manifests.md",
    "benchmarks/README.md": "benchmarks.md",
    "docs/api.md": "python/index.md",
}
_LINK = re.compile(r"(?<=\]\()(?!https?://|mailto:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
#: Code, in blocks and in lines, which is shown unchanged.
_CODE = re.compile(r"(^```.*?^```[^\n]*$|`[^`\n]*`)", re.MULTILINE | re.DOTALL)


def _maker() -> Any:
    spec = importlib.util.spec_from_file_location("make_api", ROOT / "docs" / "make_api.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _sources(text: str, folder: str) -> set[str]:
    """Files of the repository outside docs/ that a text links to and that are not documents."""
    paths = {posixpath.normpath(posixpath.join(folder, link[1])) for link in _LINK.finditer(_CODE.sub("", text))}
    return {path for path in paths if path.endswith((".py", ".toml")) and (ROOT / path).is_file()}


def on_files(files: Files, config: Any) -> Files:
    """Add the documents from outside, the scripts that pages link to, and a page for each chapter of the API."""
    linked: set[str] = set()
    for file in files.documentation_pages():
        linked |= _sources(file.content_string, posixpath.dirname(f"docs/{file.src_uri}"))
    for path, uri in DOCUMENTS.items():
        text = (ROOT / path).read_text("utf-8")
        linked |= _sources(text, posixpath.dirname(path))
        if not path.startswith("docs/"):
            files.append(File.generated(config, uri, content=text))
    for path in sorted(linked):
        kind = "python" if path.endswith(".py") else "toml"
        text = f"# {path}\n\n````{kind}\n{(ROOT / path).read_text('utf-8')}````\n"
        files.append(File.generated(config, f"source/{path}.md", content=text))
    for uri, text in _maker().site_pages().items():
        files.append(File.generated(config, f"python/{uri}", content=text))
    return files


def _origin(uri: str) -> str:
    """The path in the repository of a page."""
    return next((path for path, other in DOCUMENTS.items() if other == uri), f"docs/{uri}")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links from file to file become links from page to page."""
    uri = page.file.src_uri
    folder = posixpath.dirname(_origin(uri))

    def _moved(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, link[1]))
        target = DOCUMENTS.get(path)
        if target is None:
            target = path.removeprefix("docs/") if path.startswith("docs/") else f"source/{path}.md"
        return posixpath.relpath(target, posixpath.dirname(uri) or ".") + (link[2] or "")

    if uri.startswith(("python/", "source/")):
        return markdown
    parts = _CODE.split(markdown)
    return "".join(part if part.startswith("`") else _LINK.sub(_moved, part) for part in parts)
