"""Every change is first a plan, which can be printed and inspected, and then carried out with ``apply``."""

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
#: A plan for a narrower result type is also a plan for a wider one.
Result_co = TypeVar("Result_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a plan: ``action`` (a stable word: write, delete, copy, ...) on ``path``.

    ``bytes`` is how many bytes move; ``source`` says where they come from, ``detail`` why the step is needed.
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
    """A change that has not been made yet: the steps on ``target``, in order. Nothing happens until ``apply``.

    ``apply`` returns the result that the plan is for: a ``Plan[RepairResult]`` gives a ``RepairResult``.

    ``unsolved`` are the findings that the plan cannot repair. Each operation has its own subclass, which adds what is
    needed to carry the plan out and overrides ``carry_out``.
    """

    verb: str
    target: str
    steps: tuple[Step, ...]
    unsolved: tuple[Finding, ...] = ()

    @property
    def bytes(self) -> int:
        """The total number of bytes that move."""
        return sum(step.bytes for step in self.steps)

    def __str__(self) -> str:
        moved = f", {self.bytes:,} bytes to move" if self.bytes else ""
        lines = [f"{self.verb} {self.target}: {counted(len(self.steps), 'step')}{moved}"]
        lines += [f"  {step}" for step in self.steps]
        lines += [f"  cannot be repaired: {finding}" for finding in self.unsolved]
        return "\n".join(lines)

    def carry_out(self, executor: Executor, progress: Progress) -> Result_co:
        """Make the change, and return the operation's result. Each step is atomic; an interrupted run can be repeated."""
        raise NotImplementedError


def apply(plan: Plan[Result], *, executor: Executor | None = None, progress: Progress | None = None) -> Result:
    """Carry out a plan.

    Each step is atomic. To finish an interrupted plan, make a new plan and apply that.

    Args:
        plan: The plan, from a ``plan_...`` function.
        executor: Does the work; without one, it is done in this process, one item at a time.
        progress: Receives the progress.

    Returns:
        The result of the plan's operation.

    Raises:
        WdsError: Whatever the operation raises; see its ``plan_...`` function.
    """
    if listener("plan") is not None:
        for step in plan.steps:
            tell("plan", f"{plan.verb}: {step}", target=plan.target)
    return plan.carry_out(executor_or_here(executor), progress or Silent())
