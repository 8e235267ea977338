"""The commands, a module for each area. Importing this package registers them all, in the order of ``--help``."""

from wdstools.cli.commands import core

# isort: split
from wdstools.cli.commands import look

# isort: split
from wdstools.cli.commands import bench, change, columns, duplicates, interop, transfer

__all__ = ["bench", "change", "columns", "core", "duplicates", "interop", "look", "transfer"]
