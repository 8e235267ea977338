"""What is read in silence: in any number of threads, and without a trace in the warnings of the program."""

from __future__ import annotations

import ast
import contextlib
import multiprocessing
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests.support.pictures import encoded
from wdstools.images.check import open_image
from wdstools.python_text import expression
from wdstools.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Callable

PNG = encoded("png")


@pytest.mark.parametrize(
    ("read", "below"),
    [
        (lambda: expression("width > 3"), (ast, "parse")),
        (lambda: expression(r"caption != '\d'"), (ast, "parse")),
        (lambda: open_image(PNG), (Image, "open")),
    ],
)
def test_what_threads_read_at_once_leaves_the_filters_of_warnings_alone(
    read: Callable[[], object], below: tuple[Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first thread ends while the second is within."""
    usual, inside = getattr(*below), [threading.Event(), threading.Event()]

    def slow(*args: Any, **choices: Any) -> Any:
        if threading.current_thread() is first:
            inside[0].set()
            inside[1].wait(5)
        else:
            inside[1].set()
            first.join(5)
        return usual(*args, **choices)

    monkeypatch.setattr(*below, slow)
    first, second = (threading.Thread(target=read) for _ in range(2))
    with warnings.catch_warnings():
        before = list(warnings.filters)
        first.start()
        assert inside[0].wait(5)
        second.start()
        second.join()
        assert inside[1].is_set()
        assert warnings.filters == before


@pytest.mark.parametrize("text", [r"'\d'", "1if x else 2", "0x1for x", "1_0.if x else 2", "1jor 2", "'1' is '1'"])
def test_what_python_warns_of_in_a_condition_is_not_shown(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with contextlib.suppress(SyntaxError):
            expression(text)


def test_what_the_program_itself_warns_of_meanwhile_is_shown() -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with quiet:
            warnings.warn("of the program", stacklevel=1)
            expression(r"'\d'")
            warnings.warn("of the program too", stacklevel=1)
    assert [str(one.message) for one in shown] == ["of the program", "of the program too"]


def _filters_put_back(before: int) -> bool:
    with quiet:
        pass
    return len(warnings.filters) == before


def test_a_forked_process_does_not_wait_for_threads_that_it_has_not() -> None:
    before = len(warnings.filters)
    with quiet, multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(_filters_put_back, [before]).get(30)
