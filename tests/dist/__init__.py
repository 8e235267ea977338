"""What is released: built, checked, installed where nothing else of ours is, and tried."""
