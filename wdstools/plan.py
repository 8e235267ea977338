"""Change is a plan: what would be done, to print and to read, and then ``apply``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.executors.open import open_executor
from wdstools.progress import Progress, Silent
from wdstools.units import counted

if TYPE_CHECKING:
    from wdstools.executors.base import Executor
    from wdstools.results import Finding


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
class Plan:
    """A change that has not been made: what would be done to ``target``, in order. Nothing happens until ``apply``.

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
        lines = [f"{self.verb} {self.target}: {counted(len(self.steps), 'step')}, {self.bytes:,} bytes to move"]
        lines += [f"  {step}" for step in self.steps]
        lines += [f"  cannot be mended: {finding}" for finding in self.unsolved]
        return "\n".join(lines)

    def carry_out(self, executor: Executor, progress: Progress) -> object:
        """Make the change; gives the operation's result. Atomic for each step, and safe to interrupt and run again."""
        raise NotImplementedError


def apply(plan: Plan, *, executor: Executor | None = None, progress: Progress | None = None) -> object:
    """Carry out a plan and give the operation's result.

    Each step is atomic; an interrupted plan is finished by making it again and applying that. Serial without an
    ``executor``.
    """
    return plan.carry_out(executor or open_executor("serial"), progress or Silent())
