"""Why a decision differs, for each kind: subject, tool, what wdstools says, what the tool says."""

from __future__ import annotations

EXPLAINED = {
    ("image", "Pillow", "good", "refused"): (
        "HEIC is read with pillow-heif, which plain Pillow does not have. A PNG with a large text or colour "
        "profile is intact: wdstools removes what is large before Pillow decodes it."
    ),
    ("image", "Pillow", "image-damaged", "good"): (
        "Between two restart markers there are 1,214 bytes more than the picture needs. libjpeg itself warns about"
        " them ('Corrupt JPEG data'), but Pillow does not pass the warning on. wdstools calls this damage, as "
        "libjpeg's own tools do (jpegtran ends with 2): a checksum of the file would certify it."
    ),
    ("image", "Pillow", "image-truncated", "good"): (
        "The file ends before the image's end marker, or inside it: it was truncated. Pillow shows what there is."
    ),
    ("tar", "GNU tar", "good", "refused"): (
        "GNU tar ends with 2 after a Zstandard frame that it skips. Entries that state a size although they have "
        "no payload, such as links, and malformed extended-attribute records neither move a payload nor change a "
        "name, so wdstools ignores them. A malformed record of a name or a size is damage for wdstools, too."
    ),
    ("tar", "GNU tar", "payload-cut", "good"): (
        "The file ends after an extension record, before the entry that the record describes. GNU tar lists "
        "nothing and reports nothing."
    ),
    ("tar", "webdataset", "good", "refused"): (
        "Python's tarfile, with which webdataset reads, does not support Zstandard. wdstools names a sparse "
        "member, where webdataset holds it in memory in full, zeros included."
    ),
    ("zip", "Python", "good", "refused"): (
        "xz, which Python's zipfile does not read; and names, comments and extra fields that differ between the "
        "two places where a zip has them. For wdstools the central directory counts, and the CRC-32 of each file."
    ),
    ("zip", "unzip", "good", "refused"): (
        "LZMA and xz, which this unzip does not read; and local headers that differ from the central directory. "
        "For wdstools the central directory counts, and the CRC-32 of each file."
    ),
    ("zip", "Python", "source-damaged", "good"): (
        "The central directory has another size or another number of files than the end of the zip says, or a file"
        " has another size. Such a zip was changed or truncated. Python reads as far as it can and reports "
        "nothing."
    ),
    ("zip", "unzip", "source-damaged", "good"): (
        "The central directory states another size, compression or CRC-32 than the bytes have. unzip trusts the "
        "local header of each file."
    ),
    ("tar", "webdataset", "header-missing", "good"): (
        "A header's checksum is wrong, as GNU tar finds too. After other members, Python's tarfile takes such a "
        "header for the end of the archive, and reports nothing about what follows."
    ),
}
