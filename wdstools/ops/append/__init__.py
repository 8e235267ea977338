"""append: add samples to a dataset."""

from wdstools.ops.append.plan import AppendPlan, AppendResult, append, plan_append

__all__ = ["AppendPlan", "AppendResult", "append", "plan_append"]
