"""Real servers for tests, on loopback: installed on first use, started on free ports, stopped by their fixtures."""
