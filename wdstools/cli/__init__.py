"""The command line: options in, one operation, output. No logic."""
