"""The options of every command that uses workers: how many, of which kind, and where."""

from typing import Annotated, Literal, TypedDict

from wdstools.options.declare import Option

#: The heading under which help lists the options that all commands share.
SHARED = "Output and workers"

ExecutorKind = Literal["serial", "threads", "processes", "ray"]


class WorkerChoices(TypedDict, total=False):
    """The workers."""

    jobs: Annotated[
        int,
        Option(
            0,
            "The number of workers; 0 means one per core, or with ray as many as the cluster has room for.",
            SHARED,
            least=0,
            flag="--jobs -j",
            variable="WDSTOOLS_JOBS",
        ),
    ]
    executor: Annotated[
        ExecutorKind | None,
        Option(
            None,
            "How to run workers: serial, threads, processes, or on a ray cluster. Default: whatever suits the command.",
            SHARED,
            variable="WDSTOOLS_EXECUTOR",
        ),
    ]
    ray_address: Annotated[
        str | None,
        Option(
            None,
            "The cluster for --executor ray. Default: the one running on this machine, or else a new one started here.",
            SHARED,
            metavar="ADDRESS",
            variable="RAY_ADDRESS",
        ),
    ]
