"""What a pack will write, decided before it writes: options, splits, duplicates, and the place of each sample."""
