"""The commands, a module for each area. Importing this package registers them all, in the order of ``--help``."""

from wdstools.cli.commands import core

# isort: split
from wdstools.cli.commands import bench, change, interop

__all__ = ["bench", "change", "core", "interop"]
