"""remove: take samples out of a dataset."""

from wdstools.ops.remove.plan import RemovePlan, RemoveResult, plan_remove, remove

__all__ = ["RemovePlan", "RemoveResult", "plan_remove", "remove"]
