"""The page of ``view``: its files, and the server, for this machine only. Needs the extra ``view``."""
