"""The options of every command that runs work: how many workers there are, of which kind, and where."""

from typing import Annotated, Literal, TypedDict

from wdstools.options.declare import Option

#: The heading under which help lists what all commands have.
SHARED = "Output and workers"

ExecutorKind = Literal["serial", "threads", "processes", "ray"]


class WorkerChoices(TypedDict, total=False):
    """Who does the work."""

    jobs: Annotated[
        int,
        Option(
            0,
            "Workers; 0 means one for each core, and with ray as many as the cluster has room for.",
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
            "serial, threads, processes, or ray, a cluster; without it, what suits the command.",
            SHARED,
            variable="WDSTOOLS_EXECUTOR",
        ),
    ]
    ray_address: Annotated[
        str | None,
        Option(
            None,
            "The cluster of --executor ray; without it the one that runs on this machine, or one that is started here.",
            SHARED,
            metavar="ADDRESS",
            variable="RAY_ADDRESS",
        ),
    ]
