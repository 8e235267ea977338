"""What a pack will write, decided beforehand: options, splits, duplicates, and the place of each sample."""
