"""The commands, a module for each area. A process imports and registers only what its arguments ask for.

That is most of what a command's start costs: an area's module, and typer's reading of each command's options.
"""

from __future__ import annotations

from importlib import import_module

from wdstools.cli.session import register

#: The module of each command, in the order in which help lists those of one heading.
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
    """Register every command: for help, for completion, and for telling what a mistyped name may have meant."""
    for home in HOMES:
        import_module(f"{__name__}.{home}")
    for names in HOMES.values():
        for name in names:
            register(name)


def load(arguments: list[str]) -> None:
    """Register the command that these arguments begin with; none for ``--version`` alone, otherwise all."""
    if arguments == ["--version"]:
        return
    for home, names in HOMES.items():
        if arguments and arguments[0] in names:
            import_module(f"{__name__}.{home}")
            register(arguments[0])
            return
    load_all()
