"""The options of readers, each declared, documented and checked once, for the loader, the stream, torch and webdataset."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict, TypeVar, cast

from wdstools.errors import UsageError
from wdstools.options.declare import Option, declared, settle
from wdstools.reader.buckets import Buckets
from wdstools.reader.cursor import Choice
from wdstools.reader.order import Sharing
from wdstools.reader.ranks import Role, check_rank, find_role

Options = TypeVar("Options")


class ChoiceOptions(TypedDict, total=False):
    """Which samples of a split, in which order."""

    shuffle: Annotated[
        bool | str | None,
        Option(
            "auto",
            "True or 'full': a full permutation. 'block': blocks, mixed within windows. False or None: the order of the "
            "shards. 'auto': full for train, None for other splits.",
        ),
    ]
    where: Annotated[
        str | None, Option(None, "Only samples for which this condition on the index is true, such as width >= 300.")
    ]
    keys: Annotated[Iterable[str] | None, Option(None, "Only samples with these keys.")]
    limit: Annotated[
        int | None, Option(None, "At most this many samples, the first ones in the order of the shards.", least=0)
    ]
    columns: Annotated[
        Sequence[str] | None,
        Option(None, "Added columns (wt.add_columns) whose values go into the batch, or into sample.columns."),
    ]
    block_samples: Annotated[int, Option(64, "Neighbouring samples in a block of shuffle='block'.", least=1)]
    window_blocks: Annotated[
        int, Option(32, "Blocks in a window of shuffle='block', whose samples are mixed.", least=1)
    ]


class StreamOptions(ChoiceOptions, total=False):
    """Which samples, in which order, for whom. Every reader takes these."""

    seed: Annotated[int, Option(0, "The seed of the order; each seed gives another order.", least=0, most=2**64 - 1)]
    rank: Annotated[
        int | None,
        Option(
            None,
            "The rank of this process. By default torch.distributed, torchrun or JAX decides; worker processes of a "
            "DataLoader share a rank's part.",
            least=0,
        ),
    ]
    world_size: Annotated[int | None, Option(None, "The number of ranks; goes with rank.", least=1)]
    on_damage: Annotated[
        Literal["raise", "skip"],
        Option(
            "raise",
            "Raise an error at the first damaged sample, or skip damaged samples and list them in report() and the state.",
        ),
    ]
    remainder: Annotated[
        Literal["pad", "drop", "keep"],
        Option(
            "pad",
            "What to do with the last samples, which do not fill a batch on every rank: repeat some, leave them out on all ranks, "
            "or let ranks differ.",
        ),
    ]


class MemberOptions(TypedDict, total=False):
    """Which members of each sample are read."""

    members: Annotated[
        Sequence[str] | None,
        Option(
            None,
            "Extensions to read and check, such as ('jpg', 'txt', 'npy', 'mask.png'). By default all; for batches "
            "image, caption and label if the dataset has images.",
        ),
    ]


class UndecodedOptions(StreamOptions, MemberOptions, total=False):
    """Options of readers that decode nothing."""


class SampleOptions(MemberOptions, total=False):
    """What becomes of a sample."""

    decoders: Annotated[
        Mapping[str, Callable[[bytes], Any]] | None,
        Option(None, "By extension, or the last part of one, a function that decodes a member's bytes."),
    ]
    caption: Annotated[
        Literal["first", "random"] | Callable[..., str],
        Option(
            "first",
            "'random': one from the list captions in the json, by seed, epoch and position; or a function of that list, and "
            "of a random generator if it takes two arguments.",
        ),
    ]
    image_transform: Annotated[
        Callable[..., Any] | None, Option(None, "A function of an image, or of an image and a random generator.")
    ]
    transform: Annotated[
        Callable[..., Any] | None,
        Option(
            None,
            "A function of a whole sample, a dictionary, and optionally a random generator; it returns the dictionary for the row.",
        ),
    ]


class SourceOptions(ChoiceOptions, SampleOptions, total=False):
    """Options that a source of a mix can have in place of the loader's."""


class LoaderOptions(StreamOptions, SampleOptions, total=False):
    """What a batch is made of, in addition to the options of StreamOptions."""

    batch_size: Annotated[
        int | None, Option(None, "Samples per batch on each rank; or give global_batch_size.", least=1)
    ]
    global_batch_size: Annotated[int | None, Option(None, "Samples in the batches of all ranks together.", least=1)]
    decode: Annotated[
        Literal["rgb", "gray", "bytes"], Option("rgb", "How images are decoded: to RGB, to grayscale, or not at all.")
    ]
    image_size: Annotated[
        int | Sequence[int] | None,
        Option(None, "A side, or (height, width), in pixels. By default all images must have the same size."),
    ]
    fit: Annotated[
        Literal["stretch", "crop", "pad", "list"],
        Option("stretch", "How images of other sizes are fitted to image_size; 'list' keeps each image's size."),
    ]
    buckets: Annotated[
        Buckets | None, Option(None, "Shapes from wt.aspect_buckets, in place of image_size: each batch has one shape.")
    ]
    labels: Annotated[
        Sequence[str] | None, Option(None, "Names of labels: a label that is a name becomes its number in this list.")
    ]
    tokenizer: Annotated[
        Callable[[list[str]], Any] | None,
        Option(
            None, "A function of a batch's captions; its result becomes the field tokens, or the fields that it names."
        ),
    ]
    threads: Annotated[int | None, Option(None, "Threads or processes that decode; None is one per core.", least=1)]
    workers: Annotated[
        Literal["threads", "processes"],
        Option(
            "threads",
            "What makes batches; processes are for functions that hold Python's lock (the GIL), and need local shards.",
        ),
    ]
    prefetch: Annotated[
        int | None, Option(None, "Batches made ahead; None is enough to keep the threads busy.", least=1)
    ]
    memory: Annotated[
        int | str | None,
        Option(None, "The most memory for batches made ahead and bytes fetched ahead together, such as '2GiB'."),
    ]
    metrics: Annotated[
        bool | Callable[..., object],
        Option(False, "Measure where time is spent, for metrics(); or a function to call after each step."),
    ]


#: Options of other loaders, and what to use here instead.
_ELSEWHERE = {
    "num_workers": "threads=4: samples are decoded in threads",
    "drop_last": 'remainder="drop" (or "pad", "keep")',
    "prefetch_factor": "prefetch=4: batches made ahead",
    "persistent_workers": "not needed: there are no worker processes",
    "multiprocessing_context": "not needed: there are no worker processes",
    "collate_fn": "transform= for a sample, tokenizer= for captions; arrays are stacked as they are",
    "pin_memory": 'wt.torch.loader(..., device="cuda"), which pins; or batch.pin_memory()',
    "sampler": "shuffle=, where=, keys=; or wt.torch.MapDataset with a DataLoader",
    "batch_sampler": "shuffle=, where=, keys=; or wt.torch.MapDataset with wt.torch.BatchSampler",
    "worker_init_fn": "not needed: transforms get a random generator for each sample",
    "generator": "seed=",
    "shuffle_buffer": 'shuffle="full" or "block", with block_samples= and window_blocks=',
    "buffer_size": 'shuffle="full" or "block", with block_samples= and window_blocks=',
    "epoch": "set_epoch(n) of the reader",
}


def settled(kind: type[Options], given: Options, where: str) -> Options:
    """All options of ``kind``: those given, checked, and the defaults of the others; raises UsageError."""
    names = {one.name for one in declared(kind)}
    values: dict[str, Any] = {}
    for name, value in cast("dict[str, Any]", given).items():
        if name not in names and name in _ELSEWHERE:
            message = f"there is no option {name}; here it is {_ELSEWHERE[name]}"
            raise UsageError(message, code="no-such-option", where=where, got=name)
        if name not in names and name in _of_loaders():
            raise UsageError(
                f"there is no option {name}: samples come undecoded here",
                code="no-such-option",
                where=where,
                got=name,
                hint=f"wt.loader and wt.torch.loader take {name}; or do it in your own code",
            )
        if name == "keys" and isinstance(value, str | bytes):
            raise UsageError("not a list", where=name, expected=f"[{value!r}]", got=repr(value))
        # integers of numpy count as integers
        is_number = not isinstance(value, bool | int | float) and hasattr(value, "__index__")
        values[name] = operator.index(value) if is_number else value
    options = cast("dict[str, Any]", settle(kind, cast("Options", values)))
    check_rank(options.get("rank"), options.get("world_size"))
    return cast("Options", options)


def _of_loaders() -> frozenset[str]:
    """The names of the options that only loaders have."""
    return frozenset(one.name for one in declared(LoaderOptions))


def members_among(members: Sequence[str], there: Sequence[str]) -> tuple[str, ...]:
    """The requested members, each once; raises UsageError (``member-missing``) if one is not among the dataset's, ``there``."""
    missing = [name for name in members if name not in there]
    if missing or not members:
        raise UsageError(
            f"no member {missing[0]}" if missing else "no members",
            code="member-missing",
            where="members",
            expected=", ".join(there),
            got=", ".join(members),
        )
    return tuple(dict.fromkeys(members))


def choice_of(split: str, options: ChoiceOptions) -> Choice:
    """Which samples, in which order, by settled options."""
    shuffle = options["shuffle"]
    if shuffle == "auto":
        shuffle = split == "train"
    if isinstance(shuffle, bool):
        shuffle = "full" if shuffle else None
    keys = options["keys"]
    return Choice(
        split,
        shuffle,
        options["where"],
        None if keys is None else frozenset(keys),
        options["limit"],
        options["block_samples"],
        options["window_blocks"],
    )


@dataclass(frozen=True, slots=True)
class Share:
    """How samples are shared out: by the given sizes, and the ranks at the time."""

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
        part = (options["rank"], options["world_size"], options["remainder"])
        return cls(count, batch_size, global_batch_size, *part)

    def __post_init__(self) -> None:
        if (self.batch_size is None) == (self.global_batch_size is None):
            raise UsageError(
                "give one of batch_size and global_batch_size",
                where="batch_size",
                expected="batch_size (of this rank) or global_batch_size (of all ranks together)",
                got="neither" if self.batch_size is None else "both",
            )
        self.now()

    def role(self, inherited: Role | None = None) -> Role:
        """The role of this process now."""
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
                    "the global batch cannot be divided evenly",
                    where="global_batch_size",
                    expected=f"a multiple of {role.world_size}, the number of ranks",
                    got=str(self.global_batch_size),
                )
        return Sharing(self.count, batch_size, role.rank, role.world_size, self.remainder, role.worker, role.workers)
