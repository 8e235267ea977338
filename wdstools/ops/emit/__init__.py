"""emit: write the files that other readers need next to a dataset."""

from wdstools.ops.emit.consumers import CONSUMERS
from wdstools.ops.emit.plan import emit, plan_emit
from wdstools.ops.emit.removal import plan_emit_removal
from wdstools.ops.emit.run import EmitResult
from wdstools.ops.emit.there import refuse_only_read

__all__ = ["CONSUMERS", "EmitResult", "emit", "plan_emit", "plan_emit_removal", "refuse_only_read"]
