"""Where the process begins. It imports nothing at first, so that an interrupt while libraries are read ends quietly too."""

INTERRUPTED = 130


def main() -> None:
    """Read the command line's code, and run it."""
    try:
        _require_system()
        _require_unicode()
        from wdstools.cli.watched import watch

        watch()
        from wdstools.cli.app import main as run

        run()
    except KeyboardInterrupt:
        _end_interrupted()


def _require_system() -> None:
    """Say where it does not run, and that there is a way; exit code 2."""
    import sys

    from wdstools.system import CODE, REFUSED, is_supported

    if not is_supported():
        sys.stderr.write(f"error: {CODE}: {REFUSED}\n")
        sys.exit(2)


def _require_unicode() -> None:
    """Begin anew in UTF-8 where the locale says ASCII: names of files would be other names, and their samples lost."""
    import sys

    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        import os

        os.execve(sys.executable, sys.orig_argv, {**os.environ, "PYTHONUTF8": "1"})  # noqa: S606  itself


def _end_interrupted() -> None:
    """End at once: what is half imported must not be asked to tidy up."""
    import os

    try:
        os.write(2, b"interrupted: nothing was begun\n")
    finally:
        os._exit(INTERRUPTED)
