"""mirror: copy a dataset to another place, sending and proving it file by file."""

from wdstools.ops.mirror.plan import mirror, plan_mirror
from wdstools.ops.mirror.run import MirrorResult

__all__ = ["MirrorResult", "mirror", "plan_mirror"]
