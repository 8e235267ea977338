"""repair: a damaged dataset mended from its own redundancy, copies, or its source."""

from wdstools.ops.repair.plan import plan_repair, repair
from wdstools.ops.repair.result import RepairResult

__all__ = ["RepairResult", "plan_repair", "repair"]
