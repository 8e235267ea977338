"""The version of wdstools, for those below ``wdstools`` itself."""

__version__ = "0.1.0"
