"""Why a decision differs, for each kind: subject, tool, what is said here, what is said there."""

from __future__ import annotations

EXPLAINED = {
    ("image", "Pillow", "good", "refused"): (
        "HEIC is read with pillow-heif, which Pillow alone does not have. A PNG with a large text or colour profile is whole: what is large is left "
        "out before Pillow decodes it."
    ),
    ("image", "Pillow", "image-damaged", "good"): (
        "Between two restart markers lie 1,214 bytes more than the picture needs. libjpeg itself warns of them ('Corrupt JPEG data'), and Pillow "
        "passes no warning on. Here it is damage, as for libjpeg's own tools (jpegtran ends with 2): a checksum taken of it would certify it."
    ),
    ("image", "Pillow", "image-truncated", "good"): (
        "The file ends before the image's end marker, or inside it: it was cut. Pillow shows what there is."
    ),
    ("tar", "GNU tar", "good", "refused"): (
        "GNU tar ends with 2 after a frame of Zstandard that it passes over. Entries that say a size though they have no payload, as links, and malformed records of extended attributes: neither moves a "
        "payload or changes a name, so they are passed over. A malformed record of a name or a size is damage here, too."
    ),
    ("tar", "GNU tar", "payload-cut", "good"): (
        "The file ends behind an extension record, before the entry that it is about. GNU tar lists nothing, and says nothing."
    ),
    ("tar", "webdataset", "good", "refused"): (
        "Python's tarfile, by which webdataset reads, knows no Zstandard. A sparse member is named here, where webdataset holds it whole in memory, zeros and all."
    ),
    ("zip", "Python", "good", "refused"): (
        "xz, which Python's zipfile does not read; and names, comments and further fields that are not the same in the two places where a zip "
        "has them. The directory at its end counts here, and the CRC-32 of each file."
    ),
    ("zip", "unzip", "good", "refused"): (
        "LZMA and xz, which this unzip does not read; and what is said before each file and is not what the directory at the end says, which "
        "counts here, with the CRC-32 of each file."
    ),
    ("zip", "Python", "source-damaged", "good"): (
        "The directory is of another size, or has another number of files, than the zip says at its end; or a file is of another size. Such a zip was "
        "changed or cut. Python reads as far as it goes, and says nothing."
    ),
    ("zip", "unzip", "source-damaged", "good"): (
        "The directory says another size, compression or CRC-32 than the bytes have. unzip believes what stands before each file."
    ),
    ("tar", "webdataset", "header-missing", "good"): (
        "A header's checksum is wrong, as for GNU tar. Behind other members Python's tarfile takes such a header for the end of the archive, and says nothing of what follows."
    ),
}
