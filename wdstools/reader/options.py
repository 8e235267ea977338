"""The options of readers, each declared, documented and checked once: for the loader, the stream, torch and webdataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypedDict

from wdstools.errors import UsageError
from wdstools.reader.cursor import Choice
from wdstools.reader.order import Sharing
from wdstools.reader.role import Role, check_rank, find_role


class StreamOptions(TypedDict, total=False):
    """Which samples, in which order, for whom. Every reader takes these.

    - ``shuffle``: ``True`` or "full" (a permutation), "block" (blocks of ``block_samples``, mixed within
      ``window_blocks`` of them), ``False`` or ``None`` (the order of the shards). If it is not given: "full" for the
      split ``train``, ``None`` for others.
    - ``seed``: another seed is another order.
    - ``rank``, ``world_size``: which part is read here. If they are not given, ``torch.distributed``, ``torchrun`` and
      JAX are asked, see ``wdstools.reader.role``; worker processes of a ``DataLoader`` share a rank's part.
    - ``where``, ``keys``, ``limit``: which samples, see ``wdstools.reader.select``.
    - ``on_damage``: "raise" IntegrityError at the first damaged sample, or "skip" it, which ``report()`` and the state
      tell.
    - ``remainder``: what becomes of the last samples, which do not fill a batch on every rank: "pad" (some ranks repeat
      a sample), "drop" or "keep" (ranks may differ by one).
    """

    shuffle: bool | str | None
    seed: int
    rank: int | None
    world_size: int | None
    where: str | None
    keys: Iterable[str] | None
    limit: int | None
    on_damage: str
    remainder: str
    block_samples: int
    window_blocks: int


class LoaderOptions(StreamOptions, total=False):
    """What a batch is made of, beside the options of StreamOptions. One of the first two is needed.

    - ``batch_size``: samples of a batch. ``global_batch_size``: of the batches of all ranks together.
    - ``members``: the extensions to read, as ``("jpg", "txt", "npy", "mask.png")``. If it is not given: image, caption
      and label, or everything in a dataset without images.
    - ``decode``: "rgb", "gray" or "bytes". ``image_size``: a side or (height, width), to which ``fit`` brings other
      sizes: "stretch", "crop" the middle, "pad" with black; without it all images must be of one size;
      ``fit="list"``: each at its own.
    - ``decoders``: for an extension, or the last part of one, a function of a member's bytes, in place of the usual
      decoder.
    - ``caption``: "first" (``txt``), "random" (one of the list ``captions`` in ``json``, drawn by seed, epoch and
      position), or a function of that list and a random generator.
    - ``labels``: names of labels; a label that is a name becomes its number in this list.
    - ``image_transform``: a function of an image, or of an image and a random generator. ``transform``: the same of a
      whole sample, a dictionary, which gives the dictionary that becomes a row of the batch.
    - ``tokenizer``: a function of the list of a batch's captions; what it gives becomes ``tokens``, or the fields that
      it names.
    - ``threads``: None is one a core.
    """

    batch_size: int | None
    global_batch_size: int | None
    members: Sequence[str] | None
    decode: str
    image_size: int | tuple[int, int] | None
    fit: str
    decoders: Mapping[str, Callable[[bytes], Any]] | None
    caption: str | Callable[..., str]
    labels: Sequence[str] | None
    image_transform: Callable[..., Any] | None
    transform: Callable[..., Any] | None
    tokenizer: Callable[[list[str]], Any] | None
    threads: int | None


#: What other loaders call things: what to give here.
_ELSEWHERE = {
    "num_workers": "threads=4: samples are decoded in threads",
    "workers": "threads=4: samples are decoded in threads",
    "drop_last": 'remainder="drop" (or "pad", "keep")',
    "prefetch_factor": "nothing: batches are made ahead as they are",
    "persistent_workers": "nothing: there are no worker processes",
    "multiprocessing_context": "nothing: there are no worker processes",
    "collate_fn": "transform= for a sample, tokenizer= for captions; arrays are stacked as they are",
    "pin_memory": 'wt.torch.loader(..., device="cuda"), which pins; or batch.pin_memory()',
    "sampler": "shuffle=, where=, keys=; or wt.torch.MapDataset with a DataLoader",
    "batch_sampler": "shuffle=, where=, keys=; or wt.torch.MapDataset with wt.torch.BatchSampler",
    "worker_init_fn": "nothing: transforms get a random generator for each sample",
    "generator": "seed=",
    "shuffle_buffer": 'shuffle="full" or "block", with block_samples= and window_blocks=',
    "buffer_size": 'shuffle="full" or "block", with block_samples= and window_blocks=',
    "epoch": "set_epoch(n) of the reader",
}
_SIZES = ("batch_size", "global_batch_size", "limit", "threads", "block_samples", "window_blocks")
_NUMBERS = (*_SIZES, "seed", "rank", "world_size")
_LISTS = ("keys", "members", "labels")
_CALLABLES = ("image_transform", "transform", "tokenizer")


def check_options(options: Mapping[str, Any], known: Any, where: str) -> None:
    """Raise UsageError for an option that is not one of the ``known`` ones, or whose value is of another kind."""
    names: frozenset[str] = known.__optional_keys__
    for name, value in options.items():
        if name not in names:
            raise _unknown(name, sorted(names), where)
        if value is not None:
            _check_kind(name, value)
    check_rank(options.get("rank"), options.get("world_size"))
    if options.get("on_damage", "raise") not in ("raise", "skip"):
        raise UsageError("no such policy", where="on_damage", expected="raise or skip", got=str(options["on_damage"]))


def _check_kind(name: str, value: Any) -> None:
    got = repr(value)[:100]
    if name in _NUMBERS and (isinstance(value, bool) or not hasattr(value, "__index__")):
        raise UsageError("not a whole number", where=name, expected="a whole number", got=got)
    if name in _CALLABLES and not callable(value):
        raise UsageError("not a function", where=name, expected="something to call", got=got)
    if name in _LISTS and isinstance(value, str | bytes):
        raise UsageError("a list is needed", where=name, expected=f"[{got}]", got=got)
    if name == "where" and not isinstance(value, str):
        raise UsageError("not a condition", where=name, expected="text, as label == 'oslo'", got=got)


def _unknown(name: str, names: Sequence[str], where: str) -> UsageError:
    close = get_close_matches(name, names, 1)
    if name in _ELSEWHERE:
        message = f"no option {name}; here it is {_ELSEWHERE[name]}"
    else:
        message = f"no option {name}" + (f"; did you mean {close[0]}?" if close else "")
    return UsageError(message, code="no-such-option", where=where, expected=", ".join(names), got=name)


def choice_of(split: str, options: StreamOptions) -> Choice:
    """Which samples in which order."""
    shuffle = options.get("shuffle", "full" if split == "train" else None)
    if isinstance(shuffle, bool):
        shuffle = "full" if shuffle else None
    keys = options.get("keys")
    return Choice(
        split,
        shuffle,
        options.get("where"),
        None if keys is None else frozenset(keys),
        options.get("limit"),
        options.get("block_samples", 64),
        options.get("window_blocks", 32),
    )


@dataclass(frozen=True, slots=True)
class Share:
    """How samples are shared out: the sizes that were given, and ranks as they are at the time."""

    count: int
    batch_size: int | None = 1
    global_batch_size: int | None = None
    rank: int | None = None
    world_size: int | None = None
    remainder: str = "pad"

    @classmethod
    def of(
        cls, count: int, options: StreamOptions, batch_size: int | None, global_batch_size: int | None = None
    ) -> Share:
        """The share that these options ask for."""
        remainder = options.get("remainder", "pad")
        return cls(count, batch_size, global_batch_size, options.get("rank"), options.get("world_size"), remainder)

    def __post_init__(self) -> None:
        if (self.batch_size is None) == (self.global_batch_size is None):
            raise UsageError(
                "one of batch_size and global_batch_size is needed",
                where="batch_size",
                expected="batch_size (of this rank) or global_batch_size (of all ranks together)",
                got="neither" if self.batch_size is None else "both",
            )
        self.now()

    def role(self, inherited: Role | None = None) -> Role:
        """The part of this process, as it is now."""
        rank, world_size = self.rank, self.world_size
        if (rank is None) != (world_size is None):
            rank, world_size = rank or 0, world_size or 1
        return find_role(rank, world_size, inherited)

    def now(self, inherited: Role | None = None) -> Sharing:
        """How samples are dealt out now."""
        role = self.role(inherited)
        batch_size = self.batch_size
        if batch_size is None:
            assert self.global_batch_size is not None
            batch_size, left = divmod(self.global_batch_size, role.world_size)
            if left or not batch_size:
                raise UsageError(
                    "the global batch cannot be shared out evenly",
                    where="global_batch_size",
                    expected=f"a multiple of {role.world_size} ranks",
                    got=str(self.global_batch_size),
                )
        return Sharing(self.count, batch_size, role.rank, role.world_size, self.remainder, role.worker, role.workers)
