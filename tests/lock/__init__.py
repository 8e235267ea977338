"""What is installed, pinned and hashed: how the locks are made, and what they were made of."""
