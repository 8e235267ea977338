"""Executors whose workers are on a cluster. The suites run in an environment of their own (tests/install-engines.sh)."""
