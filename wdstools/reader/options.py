"""The options of readers, each declared, documented and checked once: for the loader, the stream, torch and webdataset."""

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
    """Which samples of a split, and in which order."""

    shuffle: Annotated[
        bool | str | None,
        Option(
            "auto",
            "True or 'full': a permutation. 'block': blocks, mixed within windows. False or None: the order of the "
            "shards. 'auto': full for train, None for other splits.",
        ),
    ]
    where: Annotated[str | None, Option(None, "A condition on the index, as width >= 300.")]
    keys: Annotated[Iterable[str] | None, Option(None, "Keys of samples.")]
    limit: Annotated[int | None, Option(None, "At most so many, the first in the order of the shards.", least=0)]
    columns: Annotated[
        Sequence[str] | None,
        Option(
            None,
            "Fields that were added to the dataset (wt.add_columns): each has a value in a batch, or in sample.columns.",
        ),
    ]
    block_samples: Annotated[int, Option(64, "Neighbours in a block of shuffle='block'.", least=1)]
    window_blocks: Annotated[int, Option(32, "Blocks that are mixed with each other.", least=1)]


class StreamOptions(ChoiceOptions, total=False):
    """Which samples, in which order, for whom. Every reader takes these."""

    seed: Annotated[int, Option(0, "Another seed is another order.", least=0, most=2**64 - 1)]
    rank: Annotated[
        int | None,
        Option(
            None,
            "Which part is read here. Without it torch.distributed, torchrun and JAX are asked; worker processes of a "
            "DataLoader share a rank's part.",
            least=0,
        ),
    ]
    world_size: Annotated[int | None, Option(None, "How many parts there are; goes with rank.", least=1)]
    on_damage: Annotated[
        Literal["raise", "skip"],
        Option("raise", "An error at the first damaged sample, or pass over it: report() and the state tell which."),
    ]
    remainder: Annotated[
        Literal["pad", "drop", "keep"],
        Option(
            "pad",
            "The last samples, which do not fill a batch on every rank: some ranks repeat a sample, all leave them out, "
            "or ranks differ.",
        ),
    ]


class MemberOptions(TypedDict, total=False):
    """What of each sample is read."""

    members: Annotated[
        Sequence[str] | None,
        Option(
            None,
            "Extensions to read and check, as ('jpg', 'txt', 'npy', 'mask.png'). Without it everything; for batches "
            "image, caption and label if the dataset has images.",
        ),
    ]


class UndecodedOptions(StreamOptions, MemberOptions, total=False):
    """Options of readers that decode nothing."""


class SampleOptions(MemberOptions, total=False):
    """What becomes of a sample."""

    decoders: Annotated[
        Mapping[str, Callable[[bytes], Any]] | None,
        Option(None, "For an extension, or the last part of one, a function of a member's bytes."),
    ]
    caption: Annotated[
        Literal["first", "random"] | Callable[..., str],
        Option(
            "first",
            "'random': one of the list captions in json, by seed, epoch and position; or a function of that list, and "
            "of a random generator if it takes two arguments.",
        ),
    ]
    image_transform: Annotated[
        Callable[..., Any] | None, Option(None, "A function of an image, or of an image and a random generator.")
    ]
    transform: Annotated[
        Callable[..., Any] | None,
        Option(None, "The same of a whole sample, a dictionary; it gives the dictionary that becomes a row."),
    ]


class SourceOptions(ChoiceOptions, SampleOptions, total=False):
    """What one source of a mix may have otherwise than the loader says."""


class LoaderOptions(StreamOptions, SampleOptions, total=False):
    """What a batch is made of, beside the options of StreamOptions."""

    batch_size: Annotated[int | None, Option(None, "Samples of a batch; or give global_batch_size.", least=1)]
    global_batch_size: Annotated[int | None, Option(None, "Samples of the batches of all ranks together.", least=1)]
    decode: Annotated[Literal["rgb", "gray", "bytes"], Option("rgb", "What images become.")]
    image_size: Annotated[
        int | Sequence[int] | None,
        Option(None, "A side, or height and width. Without it all images must be of one size."),
    ]
    fit: Annotated[
        Literal["stretch", "crop", "pad", "list"],
        Option("stretch", "How images of other sizes are brought to image_size; 'list': each at its own."),
    ]
    buckets: Annotated[
        Buckets | None, Option(None, "Shapes of wt.aspect_buckets, in place of image_size: each batch is of one shape.")
    ]
    labels: Annotated[
        Sequence[str] | None, Option(None, "Names of labels: a label that is a name becomes its number here.")
    ]
    tokenizer: Annotated[
        Callable[[list[str]], Any] | None,
        Option(None, "A function of a batch's captions; what it gives becomes tokens, or the fields that it names."),
    ]
    threads: Annotated[int | None, Option(None, "Threads or processes that decode; None is one a core.", least=1)]
    workers: Annotated[
        Literal["threads", "processes"],
        Option("threads", "What makes batches: processes are for functions that hold Python's lock, on local shards."),
    ]
    prefetch: Annotated[
        int | None, Option(None, "Batches made ahead; None is as many as keep the threads busy.", least=1)
    ]
    memory: Annotated[
        int | str | None,
        Option(None, "What batches made ahead and bytes fetched ahead may take together at most, as '2GiB'."),
    ]
    metrics: Annotated[
        bool | Callable[..., object],
        Option(False, "Measure what time is spent on, for metrics(); or a function that is told of each step."),
    ]


#: What other loaders call things: what to give here.
_ELSEWHERE = {
    "num_workers": "threads=4: samples are decoded in threads",
    "drop_last": 'remainder="drop" (or "pad", "keep")',
    "prefetch_factor": "prefetch=4: batches made ahead",
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


def settled(kind: type[Options], given: Options, where: str) -> Options:
    """All options of ``kind``: those given, checked, and the defaults of the others; raises UsageError."""
    names = {one.name for one in declared(kind)}
    values: dict[str, Any] = {}
    for name, value in cast("dict[str, Any]", given).items():
        if name not in names and name in _ELSEWHERE:
            message = f"no option {name}; here it is {_ELSEWHERE[name]}"
            raise UsageError(message, code="no-such-option", where=where, got=name)
        if name not in names and name in _of_loaders():
            raise UsageError(
                f"no option {name}: samples come undecoded here",
                code="no-such-option",
                where=where,
                got=name,
                hint=f"wt.loader and wt.torch.loader take {name}; or do it in your own code",
            )
        if name == "keys" and isinstance(value, str | bytes):
            raise UsageError("a list is needed", where=name, expected=f"[{value!r}]", got=repr(value))
        # numbers of numpy's are numbers
        is_number = not isinstance(value, bool | int | float) and hasattr(value, "__index__")
        values[name] = operator.index(value) if is_number else value
    options = cast("dict[str, Any]", settle(kind, cast("Options", values)))
    check_rank(options.get("rank"), options.get("world_size"))
    return cast("Options", options)


def _of_loaders() -> frozenset[str]:
    """The options that only loaders have."""
    return frozenset(one.name for one in declared(LoaderOptions))


def members_among(members: Sequence[str], there: Sequence[str]) -> tuple[str, ...]:
    """The members that are asked for, each once; raises UsageError (``member-missing``) if a dataset that has ``there`` lacks one."""
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
    """Which samples in which order, by options that are settled."""
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
        part = (options["rank"], options["world_size"], options["remainder"])
        return cls(count, batch_size, global_batch_size, *part)

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
