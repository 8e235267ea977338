"""verify: find what is damaged, and where."""

from wdstools.ops.verify.run import verify, verify_path

__all__ = ["verify", "verify_path"]
