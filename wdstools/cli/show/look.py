"""What is in a dataset, as text and as JSON lines."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wdstools.cli.output import one_line
from wdstools.cli.show.named import no_such_keys
from wdstools.results import in_json, proof, to_dict
from wdstools.units import count, counted, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from wdstools.cli.lines import Key, Page, SamplesSummary, ShardsSummary, SheetSummary, WithoutPicture
    from wdstools.cli.output import Output
    from wdstools.dataset import Dataset
    from wdstools.executors.base import Executor
    from wdstools.ops.ls import SampleInfo, ShardInfo
    from wdstools.ops.named import Named
    from wdstools.ops.stats import StatsResult
    from wdstools.ops.tally import Histogram
    from wdstools.ops.view.samples import Address
    from wdstools.options.read import OpenChoices
    from wdstools.reader.select import Selection

#: What worker processes need.
WORKER_MODULES = ("wdstools.ops.stats", "pyarrow.parquet")
#: How many samples decide the widths of the columns.
_MEASURED = 500
_LABEL_CELLS = 16
#: With less room than this, a caption goes on a line of its own.
_LEAST_CAPTION_CELLS = 16
_BAR_CELLS = 32
_VALUE_CELLS, _FEW_NUMBERS = 32, 3
_FEW_LABELS, _FEW_TAGS = 20, 12
_EIGHTHS = " ▏▎▍▌▋▊▉"


def shards(output: Output, listed: Iterable[ShardInfo]) -> None:
    """The shards of a dataset."""
    count = 0
    for shard in listed:
        count += 1
        output.line(
            f"{shard.path}  {counted(shard.samples, 'sample')}  {shard.bytes:,} bytes"
            + (f"  xxh3_128:{shard.xxh3_128}" if shard.xxh3_128 else "")
        )
        output.record("shard", shard)
    summary: ShardsSummary = {"shards": count}
    output.summary(summary, exit_code=0, ok=True)


def keys(output: Output, listed: Iterable[str], missing: Sequence[str] = ()) -> int:
    """Keys, one per line; the exit code is 3 if some of the requested keys are missing."""
    count = 0
    for key in listed:
        count += 1
        output.line(key)
        line: Key = {"key": key}
        output.record("sample", line)
    return _end(output, count, missing)


def samples(output: Output, listed: Iterable[SampleInfo], missing: Sequence[str] = ()) -> int:
    """Samples, one per line: key, label, width and height, bytes, and as much of the caption as fits; the exit code."""
    number = 0
    for sample, line in _sample_lines(listed, _terminal_cells()):
        number += 1
        output.line(line)
        columns = None if sample.columns is None else {name: in_json(value) for name, value in sample.columns.items()}
        output.record("sample", replace(sample, columns=columns))
    return _end(output, number, missing)


def _end(output: Output, listed: int, missing: Sequence[str]) -> int:
    """The missing keys, then the summary; the exit code."""
    summary: SamplesSummary = {"samples": listed}
    if missing:
        summary["missing_keys"] = missing
    code = no_such_keys(output, missing, aside=True)
    output.summary(summary, exit_code=code, ok=code == 0)
    return code


def _terminal_cells() -> int:
    """Columns of the terminal; 0 if lines may have any length, in a file or a pipe."""
    return shutil.get_terminal_size((0, 0)).columns


def _sample_lines(listed: Iterable[SampleInfo], room: int) -> Iterator[tuple[SampleInfo, str]]:
    from itertools import chain, islice

    rest = iter(listed)
    first = list(islice(rest, _MEASURED))
    widths = [max(map(cells, column), default=0) for column in zip(*map(_fields, first), strict=True)] or [0] * 5
    align = (_left, _left, _right, _right, _left)
    for sample in chain(first, rest):
        fields = zip(align, _fields(sample), widths, strict=True)
        line = "  ".join(place(text, width) for place, text, width in fields if width)
        yield sample, _with_caption(line, _caption(sample), room)


def _fields(sample: SampleInfo) -> tuple[str, str, str, str, str]:
    values = "  ".join(f"{name}={_value(value)}" for name, value in (sample.columns or {}).items())
    shape = "" if sample.width is None or sample.height is None else f"{sample.width}x{sample.height}"
    return one_line(sample.key), cut(one_line(sample.label or ""), _LABEL_CELLS), shape, size(sample.bytes), values


def _value(value: Any) -> str:
    """A value of an added column, shortened; - if there is none."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        first = ", ".join(f"{number:.4g}" for number in value[:_FEW_NUMBERS])
        return f"[{first}]" if len(value) <= _FEW_NUMBERS else f"[{first}, … {len(value):,} numbers]"
    return cut(repr(one_line(value)), _VALUE_CELLS) if isinstance(value, str) else str(value)


def _caption(sample: SampleInfo) -> str:
    return one_line(" ".join((sample.caption or "").split()))


def _with_caption(line: str, caption: str, room: int) -> str:
    if not caption:
        return line.rstrip()
    if not room:
        return f"{line}  {caption}"
    left = room - cells(line) - 2
    if left < _LEAST_CAPTION_CELLS:
        return f"{line.rstrip()}\n    {cut(caption, max(1, room - 4))}"
    return f"{line}  {cut(caption, left)}"


def cells(text: str) -> int:
    """How many columns of a terminal a text takes: East Asian characters and emoji take two, combining accents none."""
    from rich.cells import cell_len

    return cell_len(text)


def cut(text: str, room: int) -> str:
    """As much of a text as fits into ``room`` columns; a shortened text ends with an ellipsis."""
    if len(text) <= room and cells(text) <= room:
        return text
    from rich.cells import set_cell_size

    return set_cell_size(text[: 4 * room], room - 1).rstrip() + "…"


def _left(text: str, width: int) -> str:
    return text + " " * (width - cells(text))


def _right(text: str, width: int) -> str:
    return " " * (width - cells(text)) + text


def is_far(dataset: Dataset) -> bool:
    """Whether the indexes are remote, so that workers mostly wait for the network."""
    from wdstools.stores.local import LocalStore

    return not isinstance(dataset.metadata, LocalStore)


def stats(output: Output, found: StatsResult, missing: Sequence[str] = ()) -> int:
    """Statistics of a dataset; the exit code."""
    where = f" where {one_line(found.where)}" if found.where else ""
    output.line(f"{one_line(found.name)}{where}: {counted(found.samples, 'sample')}, {size(found.bytes)}")
    _labels(output, found)
    if found.formats:
        output.line("  images: " + ", ".join(f"{number:,} {one_line(kind)}" for kind, number in found.formats.items()))
    output.line("  members: " + ", ".join(f"{one_line(name)} {number:,}" for name, number in found.members.items()))
    if found.shapes:
        first, *others = (f"{one.width}x{one.height} {one.images:,}" for one in found.shapes[:5])
        output.line(f"  most common sizes: {', '.join((first, *others))}")
    _histogram(output, "width, pixels", found.widths, "{:,}".format)
    _histogram(output, "height, pixels", found.heights, "{:,}".format)
    _histogram(output, "bytes of an image", found.image_bytes, size)
    _histogram(output, "caption, characters", found.caption_lengths, "{:,}".format)
    if found.caption_lengths is not None:
        output.line(f"  captions: {found.captioned:,} with text, {found.samples - found.captioned:,} without")
    _tags(output, found)
    output.line(f"  {proof(found.proved)['proof']}")
    code = no_such_keys(output, missing, aside=True)
    shown = {**to_dict(found), "missing_keys": missing} if missing else found
    output.summary(shown, exit_code=code, ok=code == 0)
    return code


def _labels(output: Output, found: StatsResult) -> None:
    """One line per label, one column per split."""
    splits = list(found.counts)
    if not splits:
        return
    shown = found.labels if output.verbose else found.labels[:_FEW_LABELS]
    heads = [*map(one_line, splits), "all"]
    rows = [("", heads)]
    for label in (*shown, None):
        of = [
            sum(found.counts[split].values()) if label is None else found.counts[split].get(label, 0)
            for split in splits
        ]
        name = "all" if label is None else cut(one_line(label) or "(no label)", 32)
        if label is not None or len(found.labels) > 1:
            rows.append((name, [f"{number:,}" for number in (*of, sum(of))]))
    names = max(cells(name) for name, _ in rows)
    widths = [max(map(cells, column)) for column in zip(*(row for _, row in rows), strict=True)]
    for name, row in rows:
        if name == "all" and len(found.labels) > len(shown):
            output.line(f"    ... and {counted(len(found.labels) - len(shown), 'more label')} (-v shows all)")
        numbers = "  ".join(_right(text, width) for text, width in zip(row, widths, strict=True))
        output.line(f"  {_left(name, names)}  {numbers}")


def _histogram(output: Output, title: str, found: Histogram | None, shown: Callable[[int], str]) -> None:
    """One bar per range of values."""
    if found is None:
        return
    if found.least == found.most:
        output.line(f"  {title}: {shown(found.least)}, all {found.values:,}")
        return
    mean = size(found.mean) if shown is size else count(found.mean)
    output.line(f"  {title}: {shown(found.least)} to {shown(found.most)}, median {shown(found.median)}, mean {mean}")
    ranges = found.ranges(shown)
    width, digits = max(map(len, ranges)), max(len(f"{number:,}") for number in found.counts)
    for name, number in zip(ranges, found.counts, strict=True):
        output.line(f"    {name:>{width}}  {number:>{digits},}  {_bar(number, found.counts)}".rstrip())


def _bar(number: int, all_of: Sequence[int]) -> str:
    whole, part = divmod(round(8 * _BAR_CELLS * number / max(all_of)), 8)
    return "█" * whole + (_EIGHTHS[part] if part else "" if whole or not number else _EIGHTHS[1])


def _tags(output: Output, found: StatsResult) -> None:
    if not found.hashtags:
        return
    shown = found.hashtags if output.verbose else found.hashtags[:_FEW_TAGS]
    about = "" if found.hashtags_exact else "at least "
    output.line(
        f"  hashtags: {about}{found.distinct_hashtags:,} different; "
        + ", ".join(f"{one_line(one.tag)} {one.captions:,}" for one in shown)
    )


def named(dataset: str, opening: OpenChoices) -> Address:
    """A dataset as it was named on the command line."""
    from wdstools.ops.view.samples import Address

    at = opening["at"]
    return Address(dataset, None if at is None else os.fspath(at))


def refuse_idle(html: str | None, **served: object) -> None:
    """Refuse options of the served page if a file is requested; raises UsageError (``option-idle``)."""
    from wdstools.errors import UsageError, option

    idle = next((name for name, value in served.items() if value), None)
    if html is not None and idle is not None:
        raise UsageError(
            f"{option(idle)} applies only to a served page, and {option('html')} serves none",
            code="option-idle",
            where=option(idle),
            hint=f"leave {option(idle)} out, or leave {option('html')} out",
        )


def serve_view(
    output: Output,
    dataset: Dataset,
    selection: Selection,
    address: Address,
    *,
    port: int,
    findings: str | None = None,
    browser: bool = False,
) -> None:
    """Serve the page until interrupted; its address is the answer."""
    from wdstools.report.viewer.server import need_server, serve

    need_server()
    from wdstools.ops.view import Viewer
    from wdstools.ops.view.damage import read_findings

    viewer = Viewer(dataset, address, selection)
    if findings is not None:
        viewer.checked(read_findings(findings, dataset))

    def ready(url: str) -> None:
        output.line(url)
        line: Page = {"url": url}
        output.record("page", line)
        output.flush()
        output.hint("only this machine can open the page, and only with this address; Ctrl-C ends it")
        if browser:
            import webbrowser

            webbrowser.open(url)

    serve(viewer, port, ready)
    summary: SamplesSummary = {"samples": viewer.catalogue.count}
    output.summary(summary, exit_code=0, ok=True)


def write_sheet(output: Output, dataset: Dataset, named: Named, path: str, *, samples: int, executor: Executor) -> int:
    """Write statistics and some samples as one page; the exit code is 3 if a picture cannot be shown or a key is missing."""
    from wdstools.address import display
    from wdstools.ops.view.sheet import make_sheet
    from wdstools.report.samples import render_samples

    sheet = make_sheet(dataset, named.selection, samples, executor=executor, progress=output.progress())
    output.page(path, render_samples(sheet, display(dataset.shards.url)))
    output.line(f"{one_line(dataset.name)}: {len(sheet.cards):,} of {counted(sheet.stats.samples, 'sample')} in {path}")
    lacking = [card for card in sheet.cards if card.missing]
    output.few(f"  no picture: {one_line(card.sample.key)}: {one_line(card.missing)}" for card in lacking)
    for card in lacking:
        line: WithoutPicture = {"key": card.sample.key, "reason": card.missing}
        output.record("missing", line)
    code = no_such_keys(output, named.missing, aside=True) or (3 if lacking else 0)
    shown: SheetSummary = {"samples": sheet.stats.samples, "shown": len(sheet.cards), "without_picture": len(lacking)}
    if named.missing:
        shown["missing_keys"] = named.missing
    output.summary(shown, exit_code=code, ok=code == 0)
    return code
