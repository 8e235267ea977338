"""All rows of a dataset's indexes as one mapped file, in which loaders, ``where``, the viewer and statistics look things up.

``layout`` defines the file, ``index_columns`` are its arrays, ``kept`` is the folder of such files, ``making`` fills all
columns at once, ``joined`` is the object that all code uses, and ``opening`` returns it.
"""

from wdstools.joined.joined import Joined
from wdstools.joined.opening import open_joined

__all__ = ["Joined", "open_joined"]
