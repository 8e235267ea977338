"""``python -m wdstools``."""

from wdstools.cli.entry import main

if __name__ == "__main__":
    main()
