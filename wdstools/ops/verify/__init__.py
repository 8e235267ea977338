"""verify: what is damaged, and where."""
