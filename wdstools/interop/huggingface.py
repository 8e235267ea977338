"""The dataset card as Hugging Face reads it: splits, features, sizes, a table of samples."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from wdstools.formats.card import BEGIN_MARK, END_MARK, hugging_face_names, printable_name, render_block, render_configs
from wdstools.formats.image_types import is_image_extension
from wdstools.interop.frontmatter import join_card, replace_block, split_card

if TYPE_CHECKING:
    from wdstools.dataset import Dataset
    from wdstools.formats.manifest import Manifest

SAMPLES_BEGIN = "<!-- wdstools:samples begin (written by wdstools emit) -->"
SAMPLES_END = "<!-- wdstools:samples end -->"
#: Keys of the front matter that ``emit`` adds if they are missing; ``configs`` is always ours.
CARD_KEYS = ("pretty_name", "license", "task_categories", "size_categories", "dataset_info", "configs")
_TABLE_SAMPLES = 5
_CAPTION_CHARACTERS = 80
#: The types that its WebDataset reader gives to extensions other than images.
_DTYPES = {
    "txt": "string",
    "cls": "int64",
    "json": "json",
    **dict.fromkeys(("flac", "mp3", "ogg", "opus", "wav"), "audio"),
    **dict.fromkeys(("avi", "mkv", "mov", "mp4", "mpeg"), "video"),
}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"))  # fmt: skip


def emitted_card(dataset: Dataset, old: str, ours: frozenset[str], license_name: str | None) -> str:
    """The card with what Hugging Face needs. ``ours`` are the keys that wdstools wrote before: these are replaced.

    Keys that the owner wrote stay, except ``configs``; so does all text except the part between wdstools' marks.
    """
    manifest = dataset.manifest
    blocks, rest = split_card(old)
    wanted = _blocks(manifest, license_name)
    for key, block in wanted.items():
        if key == "configs" or key in ours or key not in blocks:
            blocks[key] = block
    rest = replace_block(rest or new_title(manifest), BEGIN_MARK, END_MARK, render_block(manifest))
    rest = replace_block(rest, SAMPLES_BEGIN, SAMPLES_END, _samples_table(dataset))
    return join_card(blocks, rest)


def new_title(manifest: Manifest) -> str:
    """The beginning of a new card."""
    return f"\n# {printable_name(manifest.name) or 'Dataset'}\n"


def plain_card(manifest: Manifest, old: str, ours: frozenset[str]) -> str:
    """The card without what ``emit`` wrote; a canonical dataset keeps ``configs`` and its block."""
    blocks, rest = split_card(old)
    kept = {"configs"} if manifest.profile == "canonical" else set()
    blocks = {key: block for key, block in blocks.items() if key not in ours - kept}
    rest = replace_block(rest, SAMPLES_BEGIN, SAMPLES_END, "") if SAMPLES_BEGIN in rest else rest
    if not kept:
        rest = replace_block(rest, BEGIN_MARK, END_MARK, "") if BEGIN_MARK in rest else rest
    return join_card(blocks, rest.rstrip("\n") + "\n" if rest.strip() else "")


def written_keys(old: str, ours: frozenset[str]) -> frozenset[str]:
    """The keys of a card that belong to wdstools once it is emitted."""
    blocks, _ = split_card(old)
    return frozenset(key for key in CARD_KEYS if key == "configs" or key in ours or key not in blocks)


def _blocks(manifest: Manifest, license_name: str | None) -> dict[str, str]:
    samples = manifest.totals["samples"]
    size = next((name for limit, name in _SIZES if samples < limit), "n>10M")
    labelled = bool(manifest.labels) and "cls" in manifest.members
    tasks = ["image-classification"] if labelled else []
    tasks += ["image-to-text", "text-to-image"] if "txt" in manifest.members else []
    blocks = {"pretty_name": f"pretty_name: {json.dumps(manifest.name or 'Dataset', ensure_ascii=False)}\n"}
    blocks["license"] = f"license: {json.dumps(license_name or 'unknown')}\n"
    if tasks:
        blocks["task_categories"] = "task_categories:\n" + "".join(f"- {task}\n" for task in tasks)
    blocks["size_categories"] = f"size_categories:\n- {size}\n"
    if manifest.profile == "canonical":  # for others, Hugging Face finds out the members by itself
        blocks["dataset_info"] = _dataset_info(manifest)
    blocks["configs"] = render_configs(manifest)
    return blocks


def _dataset_info(manifest: Manifest) -> str:
    lines = ["dataset_info:", *_features(manifest), "  splits:"]
    for split, name in hugging_face_names(manifest).items():
        entries = manifest.splits[split]
        lines += [f"  - name: {json.dumps(name)}", f"    num_bytes: {sum(e.bytes for e in entries)}"]
        lines += [f"    num_examples: {sum(e.samples for e in entries)}"]
    size = manifest.totals["bytes"]
    return "\n".join([*lines, f"  download_size: {size}", f"  dataset_size: {size}"]) + "\n"


def _features(manifest: Manifest) -> list[str]:
    """The feature type of each member; empty if one is unknown: Hugging Face then finds them out by itself."""
    lines = ["  features:", "  - name: __key__", "    dtype: string", "  - name: __url__", "    dtype: string"]
    for member in manifest.members:
        dtype = _dtype(member, manifest.labels)
        if not dtype:
            return []
        lines += [f"  - name: {member}", *dtype]
    return lines


def _dtype(member: str, labels: tuple[str, ...]) -> list[str]:
    if member == "cls" and labels:
        names = [
            f"          {json.dumps(str(n))}: {json.dumps(label, ensure_ascii=False)}" for n, label in enumerate(labels)
        ]
        return ["    dtype:", "      class_label:", "        names:", *names]
    kind = member.rpartition(".")[2]
    dtype = "image" if is_image_extension(member) else _DTYPES.get(kind)
    return [f"    dtype: {dtype}"] if dtype else []


def _samples_table(dataset: Dataset) -> str:
    entry = next((entry for _, entry in dataset.manifest.shards if entry.samples), None)
    rows: list[dict[str, Any]] = []
    if entry is not None:
        names = ["key", "width", "height", "label", "caption"]
        rows = dataset.index(entry).select(names).slice(0, _TABLE_SAMPLES).to_pylist()
    lines = [SAMPLES_BEGIN, "| key | pixels | label | caption |", "|---|---|---|---|"]
    for row in rows:
        pixels = f"{row['width']}x{row['height']}" if row["width"] else ""
        lines.append(f"| `{_cell(row['key'])}` | {pixels} | {_cell(row['label'])} | {_cell(row['caption'])} |")
    return "\n".join([*lines, SAMPLES_END, ""])


def _cell(text: str | None) -> str:
    words = " ".join((text or "").split())
    short = words if len(words) <= _CAPTION_CHARACTERS else words[: _CAPTION_CHARACTERS - 1] + "…"
    return short.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
