"""Image bytes: checking that they are complete, resizing and encoding them. Nothing here opens a file."""
