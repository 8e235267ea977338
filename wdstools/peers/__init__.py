"""Other loaders over the same shards, used as their own documentation shows.

Each ``peer_*.py`` is part of a script that does not import wdstools, so that it runs in any interpreter: ``runner.py``
loads one by its path, takes a task as JSON, and prints one JSON line. A peer has ``PACKAGE`` (whose version is reported),
``raw(task)`` and ``batches(task)``: endless iterators over the number of samples of each step.
"""
