"""The only code that touches the storage that datasets are kept in."""
