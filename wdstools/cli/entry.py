"""Where the process begins. It imports nothing at first, so that an interrupt during imports ends quietly too."""

INTERRUPTED = 130


def main() -> None:
    """Import the command line, and run it."""
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
    """On an unsupported system, say so and what to use instead; exit code 2."""
    import sys

    from wdstools.system import CODE, REFUSED, is_supported

    if not is_supported():
        sys.stderr.write(f"error: {CODE}: {REFUSED}\n")
        sys.exit(2)


def _require_unicode() -> None:
    """Restart in UTF-8 if the locale says ASCII: file names would be misread, and their samples lost."""
    import sys

    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        import os

        os.execve(sys.executable, sys.orig_argv, {**os.environ, "PYTHONUTF8": "1"})  # noqa: S606  itself


def _end_interrupted() -> None:
    """End at once: half-imported modules must not run their clean-up."""
    import os

    try:
        os.write(2, b"interrupted: nothing was begun\n")
    finally:
        os._exit(INTERRUPTED)
