"""The command line: it takes options, calls one operation and shows the result. It has no logic of its own."""
