"""Ways to run the same function over many items: here, in threads, in processes."""
