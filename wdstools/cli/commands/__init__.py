"""The commands, one module per area. A process imports and registers only the command that its arguments name.

Most of the start-up time of a command is importing its module, and typer's parsing of the options of each command.
"""

from __future__ import annotations

from importlib import import_module

from wdstools.cli.session import register

#: The commands of each module, in the order in which help lists them under a heading.
HOMES = {
    "core": ("scan", "pack", "verify", "info", "demo"),
    "look": ("ls", "head", "cat", "schema", "stats", "view"),
    "bench": ("bench",),
    "change": ("repair", "remove", "append", "diff", "extract"),
    "columns": ("columns",),
    "duplicates": ("duplicates",),
    "interop": ("adopt", "emit", "doctor"),
    "transfer": ("mirror", "pull", "sign"),
}


def load_all() -> None:
    """Register every command: for help, for completion, and for suggestions when a name is mistyped."""
    for home in HOMES:
        import_module(f"{__name__}.{home}")
    for names in HOMES.values():
        for name in names:
            register(name)


def load(arguments: list[str]) -> None:
    """Register the command that these arguments start with; none for ``--version`` alone; all otherwise."""
    if arguments == ["--version"]:
        return
    for home, names in HOMES.items():
        if arguments and arguments[0] in names:
            import_module(f"{__name__}.{home}")
            register(arguments[0])
            return
    load_all()
