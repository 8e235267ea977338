"""``python -m wdstools``."""

from wdstools.cli.app import main

if __name__ == "__main__":
    main()
