"""Reading samples back: random access by number and by key, every byte checked."""
