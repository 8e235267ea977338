"""A reader's position, and how its state is restored.

Only this module knows and moves a position. A pass begins with ``begin``, moves with ``hand_out``, and the last piece that is
handed out ends the epoch. So a loop that stops after the last batch, without asking for one more, has ended it too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from wdstools.errors import UsageError
from wdstools.reader.order import Order

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The fields of a state that must match, and the message if one does not.
_REFUSALS = (
    ("version", "this state was saved by another version of wdstools"),
    ("root", "this state belongs to another dataset"),
    ("options", "this state was saved with other options"),
)


class Dealt(Protocol):
    """What deals an epoch out in batches, seen from one reader."""

    @property
    def workers(self) -> int:
        """How many workers take the batches of this reader's rank in turn."""

    def batches(self, position: Any = 0, /) -> int:
        """How many batches this reader gets from a place to the end of the epoch."""


class Position:
    """Which epoch is being read, and what of it has been handed out.

    ``place`` is how many positions of the epoch's order have been handed out, to all ranks together; or, where batches
    are of one kind each, how many of each kind.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.epoch = 0
        self.place: Any = 0
        #: Identifies the pass that may read: a new object whenever the position changes other than by reading on.
        self.turn = object()
        #: Whether the last of the epoch has been handed out, and no other pass has begun.
        self.ended = False
        self._restored = False

    @property
    def position(self) -> int:
        """The number of positions of this epoch that have been handed out."""
        return int(self.place) if isinstance(self.place, int) else sum(self.place)

    @position.setter
    def position(self, position: int) -> None:
        """Go to a position of this epoch."""
        self.place = position

    @property
    def whole(self) -> int:
        """The number of positions of an epoch."""
        raise NotImplementedError

    def begin(self, dealt: Dealt) -> object:
        """Begin a pass; a pass that is already running loses its turn.

        It begins at a restored position, if something is left there; else at the start of an epoch: the next
        one, if something of this one was handed out.
        """
        # a worker that is done waits for the others; a reader without workers continues with the next epoch
        is_over = self._restored and dealt.workers == 1 and not dealt.batches(self.place)
        if is_over or (self.position and not self._restored):
            self.epoch, self.place = self.epoch + 1, 0
        self._restored = self.ended = False
        self.turn = object()
        return self.turn

    def hand_out(self, after: Any, dealt: Dealt) -> None:
        """Record that everything before ``after`` was handed out, which may end the epoch."""
        self.place = after
        if not dealt.batches(after):
            self.end(dealt)

    def end(self, dealt: Dealt) -> None:
        """Record that this reader has had all of the epoch: the next pass is the next epoch."""
        self.ended = True
        if dealt.workers == 1:
            self.epoch, self.place = self.epoch + 1, 0
        else:  # a worker's state stays at the end until its next pass, as the other workers may not be that far
            self.place = self.whole

    def go_to(self, epoch: int) -> None:
        """Go to the start of an epoch."""
        Order(1, epoch=epoch)  # raises UsageError for an invalid epoch
        self.go_on(epoch, 0)
        self._restored = False

    def go_on(self, epoch: int, place: Any) -> None:
        """Let the next pass begin here."""
        self.epoch, self.place, self.turn = epoch, place, object()
        self._restored, self.ended = True, False

    @property
    def is_restored(self) -> bool:
        """Whether the next pass continues from a state."""
        return self._restored


def read_state(state: Any, here: Mapping[str, Any]) -> dict[str, Any]:
    """A state, if it matches ``here``, the reader's own state; raises UsageError (``state-refused``) if not."""
    given: dict[str, Any] = state if isinstance(state, dict) else {}
    for name, refusal in _REFUSALS:
        if given.get(name) != here[name]:
            raise UsageError(
                refusal if given else "this is not the state of a loader",
                code="state-refused",
                where=name,
                expected=str(here[name]),
                got=str(given.get(name))[:100],
                hint="use the same dataset, split, selection and shuffle; batch size, ranks and threads may differ",
            )
    numbers = (given.get(name) for name in ("seed", "epoch", "position"))
    if not all(map(_is_count, numbers)) or not isinstance(given.get("damaged"), list):
        raise UsageError("this state is damaged", code="state-refused", got=str(state)[:200])
    return given


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 64
