"""Change is a plan: what would be done, to print and to read, and then ``apply``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from wdstools.executors.open import executor_or_here
from wdstools.log import listener, tell
from wdstools.progress import Progress, Silent
from wdstools.units import counted

if TYPE_CHECKING:
    from wdstools.executors.base import Executor
    from wdstools.results import Finding

Result = TypeVar("Result")
#: A plan for a narrower result is a plan for a wider one.
Result_co = TypeVar("Result_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Step:
    """One change of a plan: ``action`` (a stable word: write, delete, copy, ...) on ``path``.

    ``bytes`` is how many move; ``source`` says where they come from, ``detail`` why the step is needed.
    """

    action: str
    path: str
    bytes: int = 0
    source: str | None = None
    detail: str | None = None

    def __str__(self) -> str:
        moved = f": {self.bytes:,} bytes" if self.bytes else ""
        origin = f" from {self.source}" if self.source else ""
        return f"{self.action} {self.path}{moved}{origin}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True, slots=True)
class Plan(Generic[Result_co]):
    """A change that has not been made: what would be done to ``target``, in order. Nothing happens until ``apply``.

    ``apply`` gives the result that the plan is for: a ``Plan[RepairResult]`` gives a ``RepairResult``.

    ``unsolved`` are the findings that the plan cannot mend. Each operation has a plan of its own kind, which adds
    what is needed to carry it out and overrides ``carry_out``.
    """

    verb: str
    target: str
    steps: tuple[Step, ...]
    unsolved: tuple[Finding, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes that move in all."""
        return sum(step.bytes for step in self.steps)

    def __str__(self) -> str:
        moved = f", {self.bytes:,} bytes to move" if self.bytes else ""
        lines = [f"{self.verb} {self.target}: {counted(len(self.steps), 'step')}{moved}"]
        lines += [f"  {step}" for step in self.steps]
        lines += [f"  cannot be mended: {finding}" for finding in self.unsolved]
        return "\n".join(lines)

    def carry_out(self, executor: Executor, progress: Progress) -> Result_co:
        """Make the change; gives the operation's result. Atomic for each step, and safe to interrupt and run again."""
        raise NotImplementedError


def apply(plan: Plan[Result], *, executor: Executor | None = None, progress: Progress | None = None) -> Result:
    """Carry out a plan.

    Each step is atomic. A plan that was interrupted is finished by making it again and applying the new one.

    Args:
        plan: What a ``plan_...`` function gave.
        executor: Who does the work; without one it is done here, one item after the other.
        progress: Receives how far it is.

    Returns:
        The result of the plan's operation.

    Raises:
        WdsError: What the operation raises; each plan says which.
    """
    if listener("plan") is not None:
        for step in plan.steps:
            tell("plan", f"{plan.verb}: {step}", target=plan.target)
    return plan.carry_out(executor_or_here(executor), progress or Silent())
