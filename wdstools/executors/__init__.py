"""Ways to run the same function over many items: in this thread, in threads, in processes, or on a cluster."""
