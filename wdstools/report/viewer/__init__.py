"""The page of ``view``: its files, and the server that answers it on this machine alone. Needs the extra ``view``."""
