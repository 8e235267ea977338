"""Image types: their extensions, their first bytes, their names for people and for web servers."""

from __future__ import annotations

#: File extensions of images, and the type that each stands for.
TYPE_OF_EXTENSION = {
    "jpg": "jpg",
    "jpeg": "jpg",
    "jpe": "jpg",
    "jfif": "jpg",
    "jif": "jpg",
    "pjpeg": "jpg",
    "pjp": "jpg",
    "mpo": "jpg",
    "png": "png",
    "apng": "png",
    "webp": "webp",
    "gif": "gif",
    "bmp": "bmp",
    "dib": "bmp",
    "tif": "tiff",
    "tiff": "tiff",
    "avif": "avif",
    "avifs": "avif",
    "heic": "heic",
    "heif": "heic",
    "hif": "heic",
    "jp2": "jp2",
    "j2k": "jp2",
    "j2c": "jp2",
    "jpc": "jp2",
    "jpf": "jp2",
    "jpx": "jp2",
    "jxl": "jxl",
    "ppm": "ppm",
    "pgm": "ppm",
    "pbm": "ppm",
    "pnm": "ppm",
}
#: Types that may be stored in a shard unchanged, in the order in which a dataset's type is chosen; others are
#: converted.
STORABLE_TYPES = ("jpg", "png", "webp")
#: What people call a file of each type.
NAME_OF_TYPE = {
    "jpg": "a JPEG image",
    "png": "a PNG image",
    "webp": "a WebP image",
    "gif": "a GIF image",
    "bmp": "a BMP image",
    "tiff": "a TIFF image",
    "avif": "an AVIF image",
    "heic": "a HEIC image",
    "jp2": "a JPEG 2000 image",
    "jxl": "a JPEG XL image",
    "ppm": "a PPM image",
}
#: The media types of the images that browsers show.
MEDIA_TYPE_OF = {kind: f"image/{'jpeg' if kind == 'jpg' else kind}" for kind in ("jpg", "png", "webp", "gif", "avif")}

_MAGIC = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jp2"),
    (b"\xff\x4f\xff\x51", "jp2"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "jxl"),
    (b"\xff\x0a", "jxl"),
    (b"BM", "bmp"),
)
#: The major brand of an ISO media file, and the type that it stands for.
_BRANDS = {
    b"avif": "avif", b"avis": "avif", b"heic": "heic", b"heix": "heic", b"heim": "heic", b"heis": "heic",
    b"hevc": "heic", b"hevx": "heic", b"hevm": "heic", b"hevs": "heic", b"mif1": "heic", b"msf1": "heic",
}  # fmt: skip
#: How a bitmap without a file header begins, as in clipboards: the size of its own header, one plane, bits per pixel.
_DIB_SIZES = tuple(size.to_bytes(4, "little") for size in (40, 52, 56, 64, 108, 124))
_DIB_BITS = tuple(bits.to_bytes(2, "little") for bits in (1, 4, 8, 16, 24, 32))


def is_image_extension(extension: str) -> bool:
    """Whether an extension is that of an image, in upper or lower case; also a dotted one (``mask.png``)."""
    return extension.rpartition(".")[2].lower() in TYPE_OF_EXTENSION


def sniff(head: bytes) -> str:
    """The type of an image by the magic number in its first 16 bytes; "" if unknown."""
    return sniff_plain(head) or _sniff_bare(head)


def sniff_plain(head: bytes) -> str:
    """The type of a file that may not be an image: ignores PPM and bare BMP headers, which other data may resemble."""
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "")
    if head[:4] == b"RIFF":
        return "webp" if head[8:12] == b"WEBP" else ""
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), "")


def _sniff_bare(head: bytes) -> str:
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in (b" ", b"\t", b"\n", b"\r", b"#"):
        return "ppm"
    return "bmp" if head[:4] in _DIB_SIZES and head[12:14] == b"\1\0" and head[14:16] in _DIB_BITS else ""
