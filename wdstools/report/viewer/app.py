"""The HTTP responses to the page's requests; their content comes from ``ops.view``."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import Response
from starlette.routing import Route

from wdstools.errors import FormatError, IntegrityError, NotFoundError, StoreError, UsageError, WdsError
from wdstools.ops.view.filters import Filters, filters_of
from wdstools.ops.view.pictures import content_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from wdstools.ops.view import Viewer

#: The files of the page, and their content types.
FILES = {
    "view.html": "text/html; charset=utf-8",
    "view.css": "text/css; charset=utf-8",
    "main.js": "text/javascript; charset=utf-8",
    "dom.js": "text/javascript; charset=utf-8",
    "gallery.js": "text/javascript; charset=utf-8",
    "sample.js": "text/javascript; charset=utf-8",
    "stats.js": "text/javascript; charset=utf-8",
}
_SIDES = (256, 512)
#: How many seconds a request waits for a search before it returns the results so far.
_PATIENCE = 0.4
#: Members must not run code, whatever they are: each is a sandboxed document, or a file to save.
_MEMBER_POLICY = "default-src 'none'; sandbox"
_STATUS: tuple[tuple[type[WdsError], int], ...] = (
    (NotFoundError, 404),
    (UsageError, 400),
    (IntegrityError, 409),
    (FormatError, 422),
    (StoreError, 502),
    (WdsError, 500),
)


def make_app(viewer: Viewer) -> Starlette:
    """The routes, without the guard in front of them."""
    register_url_convertor("sample", _Number())
    asked = _Answers(viewer)
    routes = [
        Route("/", lambda request: _file("view.html")),  # noqa: ARG005
        Route("/files/{name}", lambda request: _file(request.path_params["name"])),
        Route("/api/about", asked.about),
        Route("/api/samples", asked.samples),
        Route("/api/stats", asked.stats),
        Route("/api/sample/{number:sample}", asked.sample),
        Route("/api/state/{number:sample}", asked.state),
        Route("/api/alike/{number:sample}", asked.alike),
        Route("/api/check", asked.check),
        Route("/api/check", asked.start_check, methods=["POST"]),
        Route("/thumb/{number:sample}", asked.thumbnail),
        Route("/picture/{number:sample}", asked.picture),
        Route("/member/{number:sample}/{extension}", asked.member),
    ]
    return Starlette(routes=routes)


class _Number(Convertor[int]):
    """The number of a sample in an address; too many digits do not match."""

    regex = "[0-9]{1,100}"

    def convert(self, value: str) -> int:
        """Convert to a number."""
        return int(value)

    def to_string(self, value: int) -> str:
        """Convert to text."""
        return str(value)


class _Answers:
    """One method per route; starlette runs each in its own thread."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer

    def about(self, request: Request) -> Response:
        """The dataset."""
        del request
        return _answer(self._viewer.about)

    def samples(self, request: Request) -> Response:
        """A section of the gallery."""

        def made() -> dict[str, Any]:
            return self._viewer.page(*_window(request, self._filters(request)), _PATIENCE)

        return _answer(made)

    def stats(self, request: Request) -> Response:
        """Statistics of what is shown."""
        return _answer(lambda: self._viewer.counts(self._filters(request), _PATIENCE))

    def sample(self, request: Request) -> Response:
        """One sample."""
        return _answer(lambda: self._viewer.sample(request.path_params["number"]))

    def state(self, request: Request) -> Response:
        """Whether a sample is whole."""
        return _answer(lambda: self._viewer.samples.state(request.path_params["number"]))

    def alike(self, request: Request) -> Response:
        """The samples that are the same image as this one."""
        level = request.query_params.get("level", "")
        return _answer(lambda: self._viewer.alike(request.path_params["number"], level))

    def check(self, request: Request) -> Response:
        """The progress of the check."""
        del request
        return _answer(self._viewer.check.document)

    def start_check(self, request: Request) -> Response:
        """Start a check."""
        return _answer(lambda: self._viewer.start_check(request.query_params.get("level", "")))

    def thumbnail(self, request: Request) -> Response:
        """A small picture."""
        side = request.query_params.get("side", "")
        chosen = next((one for one in _SIDES if str(one) == side), _SIDES[0])
        return _bytes(lambda: self._viewer.thumbnails.get(request.path_params["number"], chosen), keep=True)

    def picture(self, request: Request) -> Response:
        """A full picture, damaged or not; the page says which."""
        return _bytes(lambda: self._viewer.samples.picture_anyhow(request.path_params["number"]))

    def member(self, request: Request) -> Response:
        """A checked member, to save or to show as text."""
        number, extension = request.path_params["number"], request.path_params["extension"]
        answer = _bytes(lambda: self._viewer.samples.member(number, extension))
        if answer.status_code == 200:
            name = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{number}.{extension}")
            answer.headers["content-disposition"] = f'attachment; filename="{name}"'
        return answer

    def _filters(self, request: Request) -> Filters:
        given: dict[str, list[str]] = {}
        for name, value in request.query_params.multi_items():
            if name not in ("start", "count"):
                given.setdefault(name, []).append(value)
        return filters_of(given, self._viewer.dataset.splits)


def _window(request: Request, filters: Filters) -> tuple[Filters, int, int]:
    numbers = []
    for name, usual in (("start", "0"), ("count", "100")):
        text = request.query_params.get(name, usual)
        if not re.fullmatch(r"[0-9]{1,15}", text):
            raise UsageError("not a whole number", where=name, got=text[:40])
        numbers.append(int(text))
    return filters, numbers[0], numbers[1]


def _answer(make: Callable[[], Any]) -> Response:
    try:
        document, status = make(), 200
    except WdsError as error:
        error.name_flags({})
        document, status = error.to_dict(), next(number for kind, number in _STATUS if isinstance(error, kind))
    text = json.dumps(document, ensure_ascii=True, separators=(",", ":"))
    return Response(text, status, {"cache-control": "no-store"}, "application/json")


def _bytes(make: Callable[[], bytes], *, keep: bool = False) -> Response:
    try:
        data = make()
    except WdsError as error:
        found: WdsError = error

        def failed() -> Any:
            raise found

        return _answer(failed)
    headers = {
        "cache-control": "private, max-age=600" if keep else "no-store",
        "content-security-policy": _MEMBER_POLICY,
    }
    return Response(data, 200, headers, content_type(data))


@cache
def _content(name: str) -> bytes:
    return files("wdstools.report.viewer").joinpath("static", name).read_bytes()


def _file(name: str) -> Response:
    if name not in FILES:
        return Response(status_code=404)
    return Response(_content(name), 200, {"cache-control": "no-store"}, FILES[name])
