"""Results as text and as JSON lines, one module per area of commands. No logic."""
