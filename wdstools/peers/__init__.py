"""Other loaders over the same shards, as their own documents show them.

Each ``peer_*.py`` is a script part that knows nothing of wdstools, so that it runs in any interpreter: ``runner.py``
loads one by its path, takes a task as JSON, and prints one JSON line. It has ``PACKAGE`` (whose version counts),
``raw(task)`` and ``batches(task)``: endless iterators over the number of samples of each step.
"""
