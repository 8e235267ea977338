"""Near-duplicates as arithmetic on arrays: hashes, exact search among them, groups. Nothing here opens a file."""
