"""extract: write samples back to files."""

from wdstools.ops.extract.write import ExtractResult, extract

__all__ = ["ExtractResult", "extract"]
