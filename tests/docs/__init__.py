"""Documents that are generated or run."""
