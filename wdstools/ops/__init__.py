"""One command per module or package: takes values and stores, and returns results. Nothing here prints or exits."""
