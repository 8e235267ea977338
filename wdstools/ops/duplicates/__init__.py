"""duplicates: images and captions that a dataset holds more than once."""

from wdstools.ops.duplicates.find import find_duplicates

__all__ = ["find_duplicates"]
