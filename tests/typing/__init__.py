"""What type checkers make of the public API: mypy and pyright read these files, nobody runs them."""
