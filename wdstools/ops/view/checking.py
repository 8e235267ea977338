"""A check that runs while people look at the page, and what the last one found."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from wdstools.address import display
from wdstools.errors import WdsError
from wdstools.executors.open import open_executor
from wdstools.ops.verify import verify
from wdstools.ops.view.damage import Checked, Damage
from wdstools.results import to_dict

if TYPE_CHECKING:
    from collections.abc import Callable

    from wdstools.dataset import Dataset
    from wdstools.options.check import VerifyLevel

_FINDINGS_SHOWN = 200


class Check:
    """The check whose findings are shown, and the one that is running."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._lock = threading.Lock()
        self._checked: Checked | None = None
        self._state, self._message = "none", ""
        self._done = self._total = 0
        self._unit = ""
        self.damage = Damage(dataset, ())

    def show(self, checked: Checked) -> None:
        """Show the findings of a check."""
        self.damage = Damage(self._dataset, checked.findings)
        self._checked, self._state = checked, "done"

    def start(self, level: VerifyLevel, done: Callable[[Checked], None]) -> None:
        """Start a check, unless one is running."""
        with self._lock:
            if self._state == "working":
                return
            self._state, self._message, self._done, self._total = "working", "", 0, 0
        threading.Thread(target=self._run, args=(level, done), name="wdstools-view-check", daemon=True).start()

    def _run(self, level: VerifyLevel, done: Callable[[Checked], None]) -> None:
        executor = open_executor("threads", 2)
        try:
            report = verify(self._dataset, level=level, executor=executor, progress=_Told(self))
            done(Checked(report.level, report.findings, ""))
        except WdsError as error:
            self._state, self._message = "failed", error.message
        finally:
            executor.close()

    def told(self, total: int, unit: str) -> None:
        """Receive how much a check has to do."""
        self._done, self._total, self._unit = 0, total, unit

    def advanced(self, count: int) -> None:
        """Receive how much more a check has done."""
        with self._lock:
            self._done += count

    def document(self) -> dict[str, Any]:
        """The progress of the check, or what it found."""
        checked = self._checked
        findings = checked.findings if checked is not None else ()
        return {
            "state": self._state,
            "message": self._message,
            "done": self._done,
            "total": self._total,
            "unit": self._unit,
            "level": "" if checked is None else checked.level,
            "source": "" if checked is None else display(checked.source),
            "findings": len(findings),
            "elsewhere": [{**to_dict(one), "text": str(one)} for one in self.damage.elsewhere[:_FINDINGS_SHOWN]],
        }


class _Told:
    """Forwards the progress of a check to the page."""

    def __init__(self, check: Check) -> None:
        self._check = check

    def start(self, task: str, total: int, unit: str) -> None:  # noqa: ARG002
        """A task starts."""
        self._check.told(total, unit)

    def advance(self, count: int) -> None:
        """More is done."""
        self._check.advanced(count)

    def finish(self) -> None:
        """The task is over."""
