"""extract: samples back to files."""
