"""One verb a file: take values and stores, return results. Nothing here prints or exits."""
