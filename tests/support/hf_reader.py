"""Read a folder with Hugging Face ``datasets``, through its card, in a process of its own.

``python -m tests.support.hf_reader FOLDER CACHE stream|load``: prints one JSON line per sample. It is a process
of its own because the library reads its settings from the environment when it is imported.
"""

from __future__ import annotations

import base64
import json
import sys
import warnings


def main(folder: str, cache: str, mode: str) -> None:
    """Print split, key, image, caption and class of every sample."""
    warnings.simplefilter("ignore")  # warnings of the library itself
    import datasets

    datasets.disable_progress_bars()
    found = datasets.load_dataset(folder, cache_dir=cache, streaming=mode == "stream")
    for split, rows in found.items():
        rows = rows.cast_column("jpg", datasets.Image(decode=False))  # noqa: PLW2901  the bytes, not their pixels
        for row in rows:
            image = row["jpg"]["bytes"]
            if image is None:
                with open(row["jpg"]["path"], "rb") as file:
                    image = file.read()
            line = {"split": split, "key": row["__key__"], "jpg": base64.b64encode(image).decode()}
            sys.stdout.write(json.dumps({**line, "txt": row["txt"], "cls": row["cls"]}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
