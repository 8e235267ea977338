"""Where a reader is, and how its state is read back.

Nothing else knows or moves a position. A pass begins with ``begin``, moves with ``hand_out``, and the last piece that is
handed out ends the epoch. So a loop that stops after the last batch, without asking for one more, has ended it too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from wdstools.errors import UsageError
from wdstools.reader.order import Order

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What a state says about itself must be the same here: else why it is refused.
_REFUSALS = (
    ("version", "this state was saved by another version of wdstools"),
    ("root", "this state is of another dataset"),
    ("options", "this state was saved with other options"),
)


class Dealt(Protocol):
    """What deals an epoch out in batches, seen from one reader."""

    @property
    def workers(self) -> int:
        """How many take the batches of this reader's rank in turn."""

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
        #: Whose turn it is to read: another object whenever this moves but by reading on.
        self.turn = object()
        #: Whether the last of the epoch has been handed out, and no other pass has begun.
        self.ended = False
        self._restored = False

    @property
    def position(self) -> int:
        """How many positions of this epoch have been handed out."""
        return int(self.place) if isinstance(self.place, int) else sum(self.place)

    @position.setter
    def position(self, position: int) -> None:
        """Go to a position of this epoch."""
        self.place = position

    @property
    def whole(self) -> int:
        """How many positions an epoch has."""
        raise NotImplementedError

    def begin(self, dealt: Dealt) -> object:
        """Begin a pass: whoever reads already has lost its turn.

        It begins where a state was restored, if there is something left; else at the beginning of an epoch: of the next
        one, if of this one something was handed out.
        """
        # a worker that is done waits for the others; one that reads alone goes on with the next epoch
        is_over = self._restored and dealt.workers == 1 and not dealt.batches(self.place)
        if is_over or (self.position and not self._restored):
            self.epoch, self.place = self.epoch + 1, 0
        self._restored = self.ended = False
        self.turn = object()
        return self.turn

    def hand_out(self, after: Any, dealt: Dealt) -> None:
        """Note that all before ``after`` was handed out, which may end the epoch."""
        self.place = after
        if not dealt.batches(after):
            self.end(dealt)

    def end(self, dealt: Dealt) -> None:
        """Note that this reader has all of the epoch: the next pass is the next epoch."""
        self.ended = True
        if dealt.workers == 1:
            self.epoch, self.place = self.epoch + 1, 0
        else:  # a worker's state says so until it begins anew, as the others may not be as far
            self.place = self.whole

    def go_to(self, epoch: int) -> None:
        """Go to the beginning of an epoch."""
        Order(1, epoch=epoch)  # refuses what is none
        self.go_on(epoch, 0)
        self._restored = False

    def go_on(self, epoch: int, place: Any) -> None:
        """Let the next pass begin here."""
        self.epoch, self.place, self.turn = epoch, place, object()
        self._restored, self.ended = True, False

    @property
    def is_restored(self) -> bool:
        """Whether the next pass goes on where a state says."""
        return self._restored


def read_state(state: Any, here: Mapping[str, Any]) -> dict[str, Any]:
    """A state, if it is of what ``here`` is the state of; raises UsageError (``state-refused``)."""
    given: dict[str, Any] = state if isinstance(state, dict) else {}
    for name, refusal in _REFUSALS:
        if given.get(name) != here[name]:
            raise UsageError(
                refusal if given else "this is not the state of a loader",
                code="state-refused",
                where=name,
                expected=str(here[name]),
                got=str(given.get(name))[:100],
                hint="the same dataset, split, selection and shuffle; batch size, ranks and threads may differ",
            )
    numbers = (given.get(name) for name in ("seed", "epoch", "position"))
    if not all(map(_is_count, numbers)) or not isinstance(given.get("damaged"), list):
        raise UsageError("this state is damaged", code="state-refused", got=str(state)[:200])
    return given


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 64
