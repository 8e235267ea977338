"""emit: the files that other readers want, beside a dataset."""

from wdstools.ops.emit.consumers import CONSUMERS
from wdstools.ops.emit.plan import emit, plan_emit
from wdstools.ops.emit.removal import plan_emit_removal
from wdstools.ops.emit.run import EmitResult

__all__ = ["CONSUMERS", "EmitResult", "emit", "plan_emit", "plan_emit_removal"]
