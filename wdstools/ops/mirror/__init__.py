"""mirror: a dataset to another place, sent and proved file by file."""

from wdstools.ops.mirror.plan import mirror, plan_mirror
from wdstools.ops.mirror.run import MirrorResult

__all__ = ["MirrorResult", "mirror", "plan_mirror"]
