"""The session of a command, and the options that all commands share."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Optional, cast, get_origin

import typer

from wdstools.cli.output import COLORS, Output
from wdstools.cli.program import AREAS, Command, Interrupted, app
from wdstools.errors import UsageError, WdsError
from wdstools.executors.open import open_executor, processors
from wdstools.options.declare import Declared, declared, parts, settle
from wdstools.options.run import SHARED, WorkerChoices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wdstools.cli.program import Area
    from wdstools.executors.base import Executor
    from wdstools.options.run import ExecutorKind

_REMOTE_JOBS = 8
#: Whether a shell is asking for completions. Completers are set up only then: typer takes a millisecond for each.
_COMPLETING = "_WDSTOOLS_COMPLETE" in os.environ


def completes(choices: Sequence[str] = (), kind: str = "") -> Callable[..., list[str]] | None:
    """The completer of a value, for ``autocompletion``: for fixed choices, or for a kind in ``cli.complete.KINDS``."""
    if not _COMPLETING:
        return None
    from wdstools.cli.complete import completer

    return completer(choices, kind)


Json = Annotated[bool, typer.Option("--json", help="Print JSON lines to standard output.", rich_help_panel=SHARED)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the answer.", rich_help_panel=SHARED)]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print long lists in full.", rich_help_panel=SHARED)]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="Do not show progress.", rich_help_panel=SHARED)]
LogFile = Annotated[
    Optional[str],
    typer.Option(
        "--log-file",
        metavar="FILE",
        help="Append a log with timestamps to this file: requests, shards, decisions.",
        envvar="WDSTOOLS_LOG_FILE",
        rich_help_panel=SHARED,
    ),
]
Color = Annotated[
    str,
    typer.Option(
        "--color",
        metavar="auto|always|never",
        help="Whether to show progress in colour.",
        envvar="WDSTOOLS_COLOR",
        rich_help_panel=SHARED,
        autocompletion=completes(COLORS),
    ),
]

DatasetPath = Annotated[str, typer.Argument(metavar="DATASET", help="A dataset's folder or URL, or its manifest file.")]
At = Annotated[
    Optional[str], typer.Option("--at", metavar="WHERE", help="Where the shards are, if not next to the manifest.")
]


def page_file(path: Optional[str]) -> Optional[str]:
    """Callback of ``--html``; see ``output_file``."""
    return output_file(path, "page", "--html")


def keys_file(path: Optional[str]) -> Optional[str]:
    """Callback of ``--keys-to``; see ``output_file``."""
    return output_file(path, "keys", "--keys-to")


def hashes_file(path: Optional[str]) -> Optional[str]:
    """Callback of ``--hashes-to``; see ``output_file``."""
    return output_file(path, "hashes", "--hashes-to")


def output_file(path: Optional[str], kind: str, flag: str) -> Optional[str]:
    """Refuse a file that cannot be written before the work starts, not after it. Raises UsageError and StoreError."""
    if path is None:
        return None
    if not path or os.path.isdir(path):
        raise UsageError(f"the {kind} must go to a file", where=flag, expected="a file's path", got=path or "nothing")
    if not os.path.isdir(os.path.dirname(path) or "."):
        raise UsageError(f"there is no such folder for the {kind}", where=flag, got=os.path.dirname(path))
    from wdstools.landing.answer import refuse_to_overwrite

    refuse_to_overwrite(path, kind)
    return path


_SHARED_PARAMETERS: tuple[tuple[str, Any, Any], ...] = (
    ("json", Json, False),
    ("quiet", Quiet, False),
    ("verbose", Verbose, False),
    ("no_progress", NoProgress, False),
    ("color", Color, "auto"),
)


class Session:
    """What every command gets: its output, and workers if it asks for them."""

    def __init__(self, output: Output, chosen: WorkerChoices) -> None:
        self.output = output
        self._chosen = settle(WorkerChoices, chosen)

    @contextmanager
    def workers(self, kind: ExecutorKind, preload: tuple[str, ...] = (), *, remote: bool = False) -> Iterator[Executor]:
        """Workers of ``kind``, unless the user chose another kind; they end with the block.

        Workers that read ``remote`` storage mostly wait for the network: without ``-j`` there may be more than cores.
        """
        chosen = self._chosen
        executor: Executor
        if chosen["executor"] == "ray":
            from wdstools.executors.ray import RayExecutor

            executor = RayExecutor(chosen["ray_address"], jobs=chosen["jobs"] or None, say=self.output.hint)
        else:
            jobs = chosen["jobs"] or (max(processors(), _REMOTE_JOBS) if remote else processors())
            executor = open_executor(chosen["executor"] or kind, jobs, preload)
        try:
            yield executor
        finally:
            executor.close()


Entry = tuple[str, Any, Any]
#: For each command whose module was imported: how ``register`` adds it to the program.
_declared_commands: dict[str, Callable[[], object]] = {}


def register(name: str) -> None:
    """Add a command that ``command`` declared to the program, unless it was added before."""
    if name in _declared_commands and name not in {known.name for known in app.registered_commands}:
        _declared_commands[name]()


def command(
    name: str, area: Area, parent: typer.Typer = app, **groups: type
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Declare a command of the program or of a ``parent``; help lists it under ``area``.

    Its function takes a Session first; the shared options are added to its own. ``groups`` are sets of options, each a
    ``TypedDict`` of declared options, which the function gets as a dictionary. Parsing the options takes time, so a
    command of the program is only added when ``register`` is called, for the commands that a process needs.
    """

    def declare(function: Callable[..., None]) -> Callable[..., None]:
        add = functools.partial(parent.command, name, cls=Command, rich_help_panel=AREAS[area])
        if parent is app:
            _declared_commands[name] = lambda: add()(_callable(function, groups))
        else:
            add()(_callable(function, groups))
        return function

    return declare


def _callable(function: Callable[..., None], groups: dict[str, type]) -> Callable[..., None]:
    """The function of a command in the form that typer expects: every option is a parameter."""
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own if parameter.name not in groups]
    entries = {group: [_entry(one) for one in declared(options)] for group, options in groups.items()}
    working = [_entry(one) for one in declared(WorkerChoices)]
    added = [
        inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for option, kind, default in (
            *(entry for group in entries.values() for entry in group),
            *_SHARED_PARAMETERS,
            ("log_file", LogFile, None),
            *working,
        )
    ]
    flags = _flags((*own, *added))

    @functools.wraps(function)
    def run(**given: Any) -> None:
        chosen = {option: given.pop(option) for option, _, _ in _SHARED_PARAMETERS}
        who = {option: given.pop(option) for option, _, _ in working}
        session, log = None, given.pop("log_file")
        try:
            if log is not None:
                from wdstools.cli.log_file import write_log

                write_log(log)
            session = Session(Output(**chosen), cast("WorkerChoices", _values(WorkerChoices, who)))
            for group, options in groups.items():
                texts = {option: given.pop(option) for option, _, _ in entries[group]}
                given[group] = _values(options, texts)
            function(session, **given)
        except WdsError as error:
            error.name_flags(flags)
            raise
        except KeyboardInterrupt as interrupt:
            raise Interrupted from interrupt
        finally:
            if session is not None:
                session.output.flush()

    run.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]  # typer reads this
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *added)}
    del run.__wrapped__  # typer must see the signature of the wrapper
    return run


def _entry(one: Declared) -> Entry:
    """An option in the form that typer expects."""
    option, kind = one.option, _kind_of_flag(one)
    flags = one.flags if option.default is not True else (f"{one.flags[0]}/--no-{one.flags[0][2:]}", *one.flags[1:])
    default = option.shown if option.read else None if option.default == () else option.default
    details = typer.Option(
        *flags,
        help=option.help,
        metavar=option.metavar or "|".join(one.choices) or None,
        rich_help_panel=option.panel or None,
        envvar=option.variable or None,
        autocompletion=completes(one.choices, option.complete),
    )
    return one.name, Annotated[kind if default is not None else Optional[kind], details], default


def _kind_of_flag(one: Declared) -> Any:
    """The type that typer converts a value to: text if ``read`` or a check handles it later."""
    kinds = [get_origin(kind) or kind for kind in parts(one.kind)]
    if one.option.read:
        return str
    if Sequence in kinds:
        return list[str]
    return next((kind for kind in (bool, int, float) if kind in kinds), str)


def _values(options: type, texts: dict[str, Any]) -> dict[str, Any]:
    """The typed texts as the values of options."""
    values = {}
    for one in declared(options):
        text, read = texts[one.name], one.option.read
        value = read(text, one.flags[0]) if read is not None and isinstance(text, str) else text
        values[one.name] = one.option.default if value is None else value
    return values


def _flags(parameters: Sequence[inspect.Parameter]) -> dict[str, str]:
    """The flag of each option, by its name in the library."""
    flags: dict[str, str] = {}
    for parameter in parameters:
        for detail in getattr(parameter.annotation, "__metadata__", ()):
            # typer first takes the first name for a default, and corrects that only later
            given = (getattr(detail, "default", ""), *(getattr(detail, "param_decls", None) or ()))
            names = [name.partition("/")[0] for name in given if isinstance(name, str) and name.startswith("--")]
            flags |= dict.fromkeys([parameter.name], names[0]) if names else {}
    return flags
