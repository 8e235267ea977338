"""All rows of a dataset's indexes as one file that is mapped: what loaders, ``where``, viewer and statistics look things up in.

``layout`` says what the file looks like, ``columns`` are its arrays, ``kept`` is the folder of such files, ``making`` fills all
columns at once, ``joined`` is the object that everyone uses, and ``opening`` gives it.
"""

from wdstools.joined.joined import Joined
from wdstools.joined.opening import open_joined

__all__ = ["Joined", "open_joined"]
