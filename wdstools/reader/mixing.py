"""Several datasets in one loader: ``wt.mix`` declares what is mixed, a loader reads it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Unpack, cast

from wdstools.columns.sets import find_fields
from wdstools.dataset import Dataset, as_dataset
from wdstools.errors import UsageError
from wdstools.reader.course import Course, Feed, Mixing
from wdstools.reader.cursor import Cursor
from wdstools.reader.options import LoaderOptions, SourceOptions, choice_of, settled
from wdstools.reader.recipe import Recipe
from wdstools.reader.turns import MOST_SOURCES, Turns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wdstools.options.declare import StrPath

#: Options of the loader that in a mix only a source can have.
_OF_SOURCES = ("where", "keys", "limit")


@dataclass(frozen=True, slots=True)
class Source:
    """One source of a mix; ``wt.source`` makes it."""

    dataset: Dataset | StrPath
    split: str
    weight: float
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mix:
    """Sources that are read as one dataset; ``wt.mix`` makes it, ``wt.loader`` and ``wt.torch.loader`` take it."""

    sources: Mapping[str, Source]
    stop: str = "first"
    samples: int | None = None
    per_batch: str = "mixed"


def source(
    dataset: Dataset | StrPath, *, split: str = "train", weight: float = 1.0, **options: Unpack[SourceOptions]
) -> Source:
    """One source of ``wt.mix``.

    Args:
        dataset: A dataset, or its folder or URL.
        split: Which split of it.
        weight: How often it comes, relative to the others: 0.7 and 0.3, or 7 and 3.
        **options: Options for this source in place of the loader's: ``where``, ``keys``, ``limit``, ``shuffle``,
            ``block_samples``, ``window_blocks``, ``members``, ``columns``, ``decoders``, ``caption``, ``image_transform``, ``transform``.

    Returns:
        The source.

    Raises:
        UsageError: An option or the weight does not fit.
    """
    settled(SourceOptions, options, "wt.source")
    given: Any = weight
    number = given if isinstance(given, int | float) and not isinstance(given, bool) else -1
    if not 0 < number < float("inf"):
        raise UsageError("out of range", where="weight", expected="a number greater than 0", got=repr(weight)[:100])
    return Source(dataset, split, weight, dict(options))


def mix(
    sources: Mapping[str, Source | Dataset | StrPath],
    *,
    stop: Literal["first", "all"] = "first",
    samples: int | None = None,
    per_batch: Literal["mixed", "homogeneous"] = "mixed",
) -> Mix:
    """Several datasets as one: ``wt.loader(wt.mix({"a": wt.source(a, weight=0.7), "b": b}), batch_size=64)``.

    In each window of N positions from the start of an epoch, a source has within 1 of N times its weight; in any
    other window it is less than 2 off, with two sources less than 1. A source read to its end begins again in a new order, and
    continues in the next epoch where it was.

    Args:
        sources: Sources by name, made by ``wt.source``; a plain dataset has weight 1. A batch has ``sources``,
            the name for each row.
        stop: When an epoch ends: once the ``first`` source has been read to its end, or once ``all`` have.
        samples: End the epoch after this many samples instead.
        per_batch: ``mixed`` batches, or ``homogeneous`` ones: each global batch is of one source.

    Returns:
        The mix, which a loader takes in place of a dataset.

    Raises:
        UsageError: There are no sources, or an argument does not fit.
    """
    given: Any = sources
    if not isinstance(given, Mapping) or not 1 <= len(sources) <= MOST_SOURCES:
        raise UsageError(
            "a mix needs sources", where="sources", expected=f"1 to {MOST_SOURCES} by name", got=repr(sources)[:100]
        )
    found: dict[str, Source] = {}
    for name, one in given.items():
        if not isinstance(name, str) or not name or not isinstance(one, Source | Dataset | str | os.PathLike):
            raise UsageError(
                "not a source", where=f"sources[{name!r}]", expected="a name, and wt.source(...)", got=repr(one)[:100]
            )
        found[name] = one if isinstance(one, Source) else source(one)
    for name, value, choices in (("stop", stop, ("first", "all")), ("per_batch", per_batch, ("mixed", "homogeneous"))):
        if value not in choices:
            raise UsageError("no such choice", where=name, expected=" or ".join(choices), got=repr(value)[:100])
    most: Any = samples
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        raise UsageError(
            "out of range", where="samples", expected="a whole number, at least 1", got=repr(samples)[:100]
        )
    Turns([one.weight for one in found.values()])
    return Mix(found, stop, samples, per_batch)


def course_of(dataset: Dataset | Mix | StrPath, split: str, options: LoaderOptions) -> Course:
    """What a loader reads, by settled options."""
    buckets = options["buckets"]
    if not isinstance(dataset, Mix):
        opened = as_dataset(dataset)
        feed = Feed("", Cursor(opened, choice_of(split, options), options["seed"]), _recipe(options))
        feed.recipe.plan(opened.manifest.members)
        find_fields(opened, feed.recipe.columns)
        return Course([feed], options["seed"], None, buckets)
    given = [name for name in _OF_SOURCES if options.get(name) is not None]
    if given or split != "train":
        name = given[0] if given else "split"
        raise UsageError(
            f"{name} cannot be given for a whole mix",
            where=name,
            hint=f"give it to each source: wt.source(dataset, {name}=...)",
        )
    feeds = [_feed(name, one, options) for name, one in dataset.sources.items()]
    turns = Turns([one.weight for one in dataset.sources.values()])
    ends = [turns.place(number, feed.cursor.count - 1) + 1 for number, feed in enumerate(feeds)]
    count = dataset.samples or (min(ends) if dataset.stop == "first" else max(ends))
    feeds, names = _labelled(feeds, options["labels"])
    _check_images(feeds)
    return Course(feeds, options["seed"], Mixing(turns, count, dataset.per_batch == "homogeneous", names), buckets)


def _recipe(options: LoaderOptions) -> Recipe:
    buckets = options["buckets"]
    if buckets is not None and (options["image_size"] is not None or options["fit"] != "stretch"):
        name = "fit" if options["image_size"] is None else "image_size"
        raise UsageError(
            f"buckets already set the size and fit of images: {name} cannot be combined with them",
            where=name,
            hint='wt.aspect_buckets(512 * 512, step=64, fit="crop")',
        )
    recipe = Recipe.of(options)
    if buckets is not None:
        recipe.of_shape(buckets.shapes[0], buckets.fit)  # raises UsageError if the recipe has its own size
    return recipe


def _feed(name: str, one: Source, options: LoaderOptions) -> Feed:
    merged = cast("LoaderOptions", {**options, **one.options})
    try:
        cursor = Cursor(as_dataset(one.dataset), choice_of(one.split, merged), options["seed"])
        recipe = _recipe(merged)
        recipe.plan(cursor.dataset.manifest.members)
        find_fields(cursor.dataset, recipe.columns)
    except UsageError as error:
        error.add_note(f"  in source {name!r}")
        raise
    return Feed(name, cursor, recipe)


def _labelled(feeds: Sequence[Feed], wanted: Sequence[str] | None) -> tuple[list[Feed], tuple[str, ...]]:
    """The feeds with one numbering of labels: the requested one, or that of the first source, extended by the others.

    Also returns the names, by number.
    """
    found = [(feed, feed.cursor.dataset.manifest.labels) for feed in feeds if _has_labels(feed)]
    lists = [tuple(labels) for _, labels in found]
    if wanted is None and len(set(lists)) <= 1:
        return list(feeds), lists[0] if lists else ()
    unnamed = next((feed.name for feed, labels in found if not labels), None)
    if unnamed is not None and any(lists):
        raise UsageError(
            "the labels of these sources cannot be combined: some have names, others only numbers",
            code="labels-differ",
            where=f"source {unnamed!r}",
            hint="leave the labels out: wt.source(..., members=('jpg', 'txt')); or pack that source with label names",
        )
    names = list(dict.fromkeys(name for labels in lists for name in labels) if wanted is None else wanted)
    numbers = {name: number for number, name in enumerate(names)}
    changed = []
    for feed in feeds:
        labels = feed.cursor.dataset.manifest.labels if _has_labels(feed) else ()
        if unknown := [label for label in labels if label not in numbers]:
            raise UsageError(
                "a label is not in the list of labels",
                code="label-unknown",
                where=f"labels, source {feed.name!r}",
                expected=", ".join(names[:20]),
                got=unknown[0],
            )
        renumbered = tuple(numbers[label] for label in labels) if labels else None
        changed.append(replace(feed, recipe=replace(feed.recipe, renumbered=renumbered)))
    return changed, tuple(names)


def _has_labels(feed: Feed) -> bool:
    return feed.recipe.plan(feed.cursor.dataset.manifest.members).labels


def _check_images(feeds: Sequence[Feed]) -> None:
    """Raise UsageError unless all sources have images, or none."""
    has = {feed.name: bool(feed.recipe.plan(feed.cursor.dataset.manifest.members).images) for feed in feeds}
    if len(set(has.values())) > 1:
        lacking = next(name for name, images in has.items() if not images)
        raise UsageError(
            "a source has no images, but others have",
            code="images-missing",
            where=f"source {lacking!r}",
            hint="mix sources with images and sources without images separately",
        )
