"""repair at a URL: restore a mirror from a copy, with one PUT for each file that its store shows to be damaged."""

from __future__ import annotations

from dataclasses import dataclass, field
from shlex import quote
from typing import TYPE_CHECKING

from wdstools.address import display
from wdstools.dataset import Dataset, open_dataset
from wdstools.errors import FormatError, NotFoundError, UsageError, option
from wdstools.ops.mirror import plan_mirror
from wdstools.ops.repair.result import RepairResult
from wdstools.plan import Plan
from wdstools.results import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wdstools.executors.base import Executor
    from wdstools.ops.mirror.run import MirrorPlan
    from wdstools.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class AfarPlan(Plan[RepairResult]):
    """A mirror plan, presented as a repair: files that are missing, different or unproved there are sent again."""

    mirror: MirrorPlan = field(repr=False)

    def carry_out(self, executor: Executor, progress: Progress) -> RepairResult:
        """Send the files; readers see each either as it was or whole."""
        made = self.mirror.carry_out(executor, progress)
        manifest = self.mirror.source.manifest
        sent = {state.wanted.path for state in self.mirror.files if state.state != "same"}
        shards = tuple(entry.path for _, entry in manifest.shards if entry.path in sent)
        indexes = [entry.index_path for _, entry in manifest.shards if entry.index_path in sent]
        unproved = tuple(
            Finding(
                "unreadable", path, "the store reports no digest that proves this file", cause="store-proves-nothing"
            )
            for path in made.unproved
        )
        return RepairResult(
            path=self.target,
            root=made.root,
            shards=shards,
            indexes=len(indexes),
            files=tuple(sorted(sent - set(shards) - set(indexes))),
            bytes=made.bytes,
            unsolved=unproved,
            proved=made.proved,
        )


def plan_repair_afar(
    url: str, spares: Sequence[str], root: str | None, executor: Executor, progress: Progress
) -> AfarPlan:
    """Compare a mirror with the first copy of the same dataset; no shard is downloaded.

    The dataset is the one with ``root``, or else that of the manifest there; if that is lost or damaged, ``root`` is needed.
    Raises UsageError (``copy-of-another``) if none of the copies is of this dataset.
    """
    wanted = root or _root_there(url)
    copy = next((copy for copy in map(_opened, spares) if copy and copy.root == wanted), None)
    if copy is None:
        raise UsageError(
            "none of the copies is of the dataset at this URL",
            code="copy-of-another",
            where=display(url),
            expected=f"root {wanted}" if wanted else f"a copy, and {option('root')}: the manifest there cannot be read",
            got=", ".join(map(display, spares)) or "no copy",
            hint=f"wdstools repair {quote(display(url))} --from COPY --root DIGEST",
        )
    plan = plan_mirror(copy.anchor(root), url, replace=wanted != _root_there(url), executor=executor, progress=progress)
    return AfarPlan(verb="repair", target=display(url), steps=plan.steps, mirror=plan)


def _root_there(url: str) -> str | None:
    try:
        return open_dataset(url).root
    except (NotFoundError, FormatError):
        return None


def _opened(where: str) -> Dataset | None:
    """A copy, if it is a whole dataset; a source or a single shard cannot repair a mirror."""
    try:
        return open_dataset(where)
    except (NotFoundError, FormatError):
        return None
