"""Image bytes: checking that they are whole, resizing and encoding them. Nothing here opens a file."""
