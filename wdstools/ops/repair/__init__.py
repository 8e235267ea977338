"""repair: restore a damaged dataset from its own redundancy, from copies, or from its source."""

from wdstools.ops.repair.plan import plan_repair, repair
from wdstools.ops.repair.result import RepairResult

__all__ = ["RepairResult", "plan_repair", "repair"]
