"""How many samples and batches each shape of a loader's buckets has, before anything is read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wdstools.reader.buckets import Bucket, BucketReport

if TYPE_CHECKING:
    from wdstools.reader.course import Course
    from wdstools.reader.order import Sharing


def report_of(course: Course, sharing: Sharing) -> BucketReport:
    """What each shape has in the current or next epoch; shapes without samples are left out."""
    if course.buckets is None:
        return BucketReport(())
    found: dict[tuple[int, int], list[int]] = {shape: [0, 0, 0, 0] for shape in course.buckets.shapes}
    for lane, count in enumerate(course.lanes().counts):
        shape = course.shape_of(lane)
        assert shape is not None
        left = count % sharing.global_batch
        batches = replace(sharing, count=count).batches()
        padding = -left % sharing.world_size if sharing.remainder == "pad" else 0
        numbers = (count, batches, left if sharing.remainder == "drop" else 0, padding)
        found[shape] = [old + new for old, new in zip(found[shape], numbers, strict=True)]
    return BucketReport(tuple(Bucket(*shape, *numbers) for shape, numbers in found.items() if numbers[0]))
