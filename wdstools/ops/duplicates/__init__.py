"""duplicates: images and captions that a dataset holds more than once."""
