"""Where the process begins. It imports nothing at first, so that an interrupt while libraries are read ends quietly too."""

INTERRUPTED = 130


def main() -> None:
    """Read the command line's code, and run it."""
    try:
        from wdstools.cli.watched import watch

        watch()
        from wdstools.cli.app import main as run

        run()
    except KeyboardInterrupt:
        _end_interrupted()


def _end_interrupted() -> None:
    """End at once: what is half imported must not be asked to tidy up."""
    import os

    try:
        os.write(2, b"interrupted: nothing was begun\n")
    finally:
        os._exit(INTERRUPTED)
