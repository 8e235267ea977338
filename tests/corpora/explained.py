"""Why a decision differs, for each kind: subject, tool, what is said here, what is said there."""

from __future__ import annotations

EXPLAINED = {
    ("image", "Pillow", "good", "refused"): (
        "HEIC is read with pillow-heif, which Pillow alone does not have. A PNG with a large text or colour profile is whole: what is large is left "
        "out before Pillow decodes it."
    ),
    ("image", "Pillow", "image-damaged", "good"): (
        "Bytes lie where a marker must be, or between two parts of the picture. libjpeg itself warns of these ('Corrupt JPEG data'), and Pillow "
        "passes no warning on. Here each is damage, as for libjpeg's own tools (jpegtran ends with 2): a checksum taken of it would certify it. "
        "Where bytes lie between markers, what is told of the file says how jpegtran takes them out without loss."
    ),
    ("image", "Pillow", "image-truncated", "good"): (
        "The file ends before the image's end marker, or inside it: it was cut. Pillow shows what there is."
    ),
    ("tar", "GNU tar", "good", "refused"): (
        "Entries that say a size though they have no payload, as links, and malformed records of extended attributes: neither moves a "
        "payload or changes a name, so they are passed over. A malformed record of a name or a size is damage here, too."
    ),
    ("tar", "GNU tar", "payload-cut", "good"): (
        "The file ends behind an extension record, before the entry that it is about. GNU tar lists nothing, and says nothing."
    ),
    ("tar", "webdataset", "good", "refused"): (
        "Python's tarfile, by which webdataset reads, knows no Zstandard. A sparse member is named here, where webdataset holds it whole in memory, zeros and all."
    ),
    ("tar", "webdataset", "header-missing", "good"): (
        "A header's checksum is wrong, as for GNU tar. Behind other members Python's tarfile takes such a header for the end of the archive, and says nothing of what follows."
    ),
}
