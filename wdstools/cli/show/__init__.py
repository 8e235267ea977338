"""Results as text and as JSON lines, a module for each area of commands. No logic."""
