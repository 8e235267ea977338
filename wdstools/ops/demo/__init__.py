"""demo: make and pack a small dataset to try everything on."""

from wdstools.ops.demo.run import pack_demo, run_demo

__all__ = ["pack_demo", "run_demo"]
