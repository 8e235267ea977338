"""duplicates: find images and captions that a dataset has more than once, and images that two sets share."""

from wdstools.ops.duplicates.against import SharedImage, SharedImages, find_shared
from wdstools.ops.duplicates.find import find_duplicates

__all__ = ["SharedImage", "SharedImages", "find_duplicates", "find_shared"]
