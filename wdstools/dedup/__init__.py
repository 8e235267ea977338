"""Near-duplicates as arithmetic over arrays: hashes, exact search among them, groups. Nothing here opens a file."""
