"""The only code that touches where datasets are kept."""
