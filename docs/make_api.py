"""Writes docs/api.md and tests/golden/api.txt from the code: ``make docs``.

The first is for people. The second is the public surface, a line for each signature, field and option: a change of it is
seen in review, and nothing disappears unnoticed.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import types
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

import wdstools
from wdstools.options.declare import Option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"
LISTING = ROOT / "tests" / "golden" / "api.txt"
Definition = ast.FunctionDef | ast.ClassDef
#: Public names that are modules, of which every public definition counts.
MODULES = ("image", "torch")
#: Headings of the page, with the functions below each in order.
CHAPTERS = (
    (
        "Make and change datasets",
        ("pack", "append", "adopt", "repair", "remove", "emit", "mirror", "pull", "sign", "extract"),
    ),
    (
        "Look and check",
        ("scan", "open_dataset", "head", "stats", "verify", "diff", "find_duplicates", "doctor", "bench"),
    ),
    (
        "Plan first",
        (
            "plan_append",
            "plan_repair",
            "plan_remove",
            "plan_emit",
            "plan_emit_removal",
            "plan_mirror",
            "plan_pull",
            "apply",
        ),
    ),
    ("Read samples", ("loader", "stream", "webdataset", "select", "parse_where")),
    (
        "Images in the loader",
        tuple(f"image.{step}" for step in ("pipeline", "random_resized_crop", "resize_crop", "flip", "normalize")),
    ),
    ("Sources, stores and workers", ("open_source", "open_store", "open_executor")),
)


def _definitions(name: str) -> list[Definition]:
    """A public name's definitions, in the module that it is from; several where it is overloaded."""
    home = f"wdstools.{wdstools._HOMES[name]}"  # noqa: SLF001  the one table of names
    if name not in MODULES:  # a package names what its modules define
        home = getattr(getattr(importlib.import_module(home), name), "__module__", home)
    spec = importlib.util.find_spec(home)
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text("utf-8"))
    if name in MODULES:
        return [node for node in tree.body if isinstance(node, Definition) and node.name[0] != "_"]
    return [node for node in tree.body if isinstance(node, Definition) and node.name == name]


def _signature(node: ast.FunctionDef) -> str:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({ast.unparse(node.args)}){returns}"


def _options(node: ast.FunctionDef) -> list[tuple[str, str, str, str]]:
    """The options that a function takes by ``**choices: Unpack[...]``: name, type, default and meaning, as far as declared."""
    taken = ast.unparse(node.args.kwarg.annotation) if node.args.kwarg and node.args.kwarg.annotation else ""
    found = re.fullmatch(r"Unpack\[(\w+)\]", taken)
    if not found:
        return []
    kind = _find(found[1])
    options = []
    for name, hint in get_type_hints(kind, include_extras=True).items():
        base, *made = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        option = next((one for one in made if isinstance(one, Option)), None)
        said = (repr(option.default), option.help) if option else ("", "")
        options.append((name, _kind(base), *said))
    return options


def _find(name: str) -> Any:
    for part in ("options.pack", "options.read", "options.check", "options.move", "options.columns", "reader.options"):
        options = importlib.import_module(f"wdstools.{part}")
        if hasattr(options, name):
            return getattr(options, name)
    raise LookupError(name)


def _kind(kind: Any) -> str:
    """A type as it is written."""
    if kind is types.NoneType:
        return "None"
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, inner))}]"
    if origin is types.UnionType or str(origin) == "typing.Union":
        return " | ".join(map(_kind, inner))
    if kind is Ellipsis:
        return "..."
    if isinstance(kind, list):  # the parameters of a Callable
        return f"[{', '.join(map(_kind, kind))}]"
    if kind is Any:
        return "Any"
    name = getattr(origin or kind, "__name__", str(kind))
    return f"{name}[{', '.join(map(_kind, inner))}]" if inner else name


def _is_public(node: ast.FunctionDef) -> bool:
    return node.name[0] != "_" or (node.name.startswith("__") and node.name not in ("__post_init__", "__reduce__"))


def _class_lines(node: ast.ClassDef) -> Iterator[str]:
    bases = f"({', '.join(map(ast.unparse, node.bases))})" if node.bases else ""
    yield f"class {node.name}{bases}"
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.target.id[0] != "_":
            default = f" = {ast.unparse(item.value)}" if item.value else ""
            yield f"    {item.target.id}: {ast.unparse(item.annotation)}{default}"
        elif isinstance(item, ast.FunctionDef) and _is_public(item):
            marks = {ast.unparse(mark).partition("(")[0] for mark in item.decorator_list}
            kind = next((f"{mark} " for mark in ("property", "classmethod", "staticmethod") if mark in marks), "")
            yield f"    {kind}{_signature(item)}"


def _inherited(name: str) -> Iterator[str]:
    """What a class has from bases that are not public themselves."""
    for base in getattr(wdstools, name).__mro__[1:]:
        if base.__module__.startswith("wdstools.") and base.__name__ not in wdstools.__all__:
            source = Path(importlib.import_module(base.__module__).__file__ or "").read_text("utf-8")
            found = [n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == base.__name__]
            yield from list(_class_lines(found[0]))[1:]


def listing() -> str:
    """The text of tests/golden/api.txt."""
    lines = ["# The public surface. Written by `make docs`; review what changes here.", ""]
    for name in sorted(set(wdstools.__all__) - {"__version__"}):
        prefix = f"{name}." if name in MODULES else ""
        for node in _definitions(name):
            if isinstance(node, ast.ClassDef):
                lines += [prefix + line if line[0] != " " else line for line in _class_lines(node)]
                lines += [] if prefix else _inherited(name)
            else:
                lines.append(prefix + _signature(node))
                lines += [
                    f"    {option}: {kind}" + (f" = {default}" if default else "")
                    for option, kind, default, _ in _options(node)
                ]
        lines.append("")
    return "\n".join(lines)


def _prose(text: str) -> str:
    """A docstring's text as Markdown: code between single marks, lines joined."""
    return re.sub(r"``(.+?)``", r"`\1`", " ".join(text.split()))


def _sections(docstring: str) -> tuple[str, dict[str, str]]:
    """The text before the first section, and each section by its name."""
    parts = re.split(r"^(Args|Returns|Raises|Yields|Example):\n", docstring, flags=re.MULTILINE)
    return parts[0], dict(zip(parts[1::2], parts[2::2], strict=True))


def _entries(section: str) -> list[tuple[str, str]]:
    """The entries of a section: names and what is said of them."""
    entries = re.split(r"^    (?=\S)", section, flags=re.MULTILINE)
    pairs = (entry.partition(":") for entry in entries if entry.strip())
    return [(name.strip(), _prose(text)) for name, _, text in pairs]


def _function_page(name: str) -> list[str]:
    module, _, own = name.rpartition(".")
    found = reversed(_definitions(module or own))
    node = next(node for node in found if isinstance(node, ast.FunctionDef) and node.name == own)
    summary, sections = _sections(ast.get_docstring(node) or "")
    lines = [f"### wt.{name}", "", "```text", _signature(node), "```", ""]
    lines += [line for text in summary.strip().split("\n\n") for line in (_prose(text), "")]
    for title in ("Args", "Returns", "Raises"):
        if title not in sections:
            continue
        if title == "Returns":
            lines += [f"Returns: {_prose(sections[title])}", ""]
            continue
        head = "parameter" if title == "Args" else "raises"
        lines += [f"| {head} | |", "|---|---|"]
        lines += [f"| `{entry}` | {_cell(text)} |" for entry, text in _entries(sections[title])]
        lines.append("")
    options = _options(node)
    if options:
        lines += [
            "| option | type | default | meaning |",
            "|---|---|---|---|",
            *(
                f"| `{option}` | `{_cell(kind)}` | {f'`{default}`' if default else ''} | {_cell(text)} |"
                for option, kind, default, text in options
            ),
            "",
        ]
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _class_page(name: str) -> list[str]:
    module, _, own = name.rpartition(".")
    node = next(node for node in _definitions(module or own) if isinstance(node, ast.ClassDef) and node.name == own)
    members = [line.strip() for line in (*list(_class_lines(node))[1:], *([] if module else _inherited(name)))]
    text = ast.get_docstring(node) or ""
    lines = [f"### wt.{name}", ""]
    lines += [line for part in text.strip().split("\n\n") for line in (_prose(part), "")]
    return [*lines, "```text", *members, "```", ""] if members else lines


def page() -> str:
    """The text of docs/api.md."""
    lines = [
        "# Python",
        "",
        "Generated by `make docs`; do not edit. `import wdstools as wt`; every function is typed, and so are its options: a",
        "type checker knows a misspelt one, and so does the function.",
        "",
    ]
    named = {name for _, names in CHAPTERS for name in names}
    rest = _others(named)
    for title, names in (*CHAPTERS, *((("Other functions", rest),) if rest else ())):
        lines += [f"## {title}", ""]
        for name in names:
            lines += _function_page(name)
    lines += ["## Values and errors", ""]
    for name in sorted(set(wdstools.__all__) - {"__version__", *MODULES}):
        if any(isinstance(node, ast.ClassDef) for node in _definitions(name)):
            lines += _class_page(name)
    lines += _class_page("image.Pipeline")
    return "\n".join(lines)


def _slug(title: str) -> str:
    return re.sub(r"[^a-z]+", "-", title.lower()).strip("-")


def _block(name: str, level: int = 2) -> list[str]:
    """What tells mkdocstrings to show a public name, and the table of its options."""
    lines = [f"::: wdstools.{name}", "    options:", f"        heading: wt.{name}", f"        toc_label: {name}"]
    lines += [f"        heading_level: {level}", ""]
    module, _, own = name.rpartition(".")
    for node in _definitions(module or own):
        if isinstance(node, ast.FunctionDef) and node.name == own:
            options = _options(node)
            rows = (f"| `{o}` | `{_cell(k)}` | {f'`{d}`' if d else ''} | {_cell(t)} |" for o, k, d, t in options)
            lines += ["| option | type | default | meaning |", "|---|---|---|---|", *rows, ""] if options else []
    return lines


def _public(kind: type[Definition]) -> list[str]:
    names = sorted(set(wdstools.__all__) - {"__version__", *MODULES})
    return [name for name in names if any(isinstance(node, kind) for node in _definitions(name))]


def site_pages() -> dict[str, str]:
    """The pages of the site's reference, which mkdocstrings fills: by name, each public name once."""
    named = {name for _, names in CHAPTERS for name in names}
    torch = [f"torch.{node.name}" for node in _definitions("torch")]
    chapters = [*CHAPTERS[:-2], *(("Other functions", tuple(_others(named))),) * bool(_others(named)), *CHAPTERS[-2:]]
    chapters += [("PyTorch", tuple(torch)), ("Values and errors", (*_public(ast.ClassDef), "image.Pipeline"))]
    pages = {
        "index.md": ["# Python", "", "`import wdstools as wt`. Every function is typed, and so are its options: a type"]
    }
    pages["index.md"] += ["checker knows a misspelt one, and so does the function.", ""]
    for title, names in chapters:
        page = f"{_slug(title)}.md"
        pages[page] = [f"# {title}", "", *(line for name in names for line in _block(name))]
        links = ", ".join(f"[{name}][wdstools.{name}]" for name in names)
        pages["index.md"] += [f"## [{title}]({page})", "", links, ""]
    return {page: "\n".join(lines) for page, lines in pages.items()}


def _others(named: set[str]) -> Sequence[str]:
    """Public functions that no chapter names yet."""
    names = sorted(set(wdstools.__all__) - named - {"__version__", *MODULES})
    return [name for name in names if any(isinstance(node, ast.FunctionDef) for node in _definitions(name))]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    LISTING.write_text(listing(), encoding="utf-8")
