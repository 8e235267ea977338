"""What the limits are measured on: the right bytes, all of them, and from anywhere."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from PIL import Image

import wdstools as wt
from tests.support.city_pairs import tiny_jpeg, write_city_pairs
from wdstools.dataset import Dataset
from wdstools.ops.bench.limits import decode_images, decoder_for, hash_payloads, read_cold, read_warm
from wdstools.stores.cold import cold_blocks
from wdstools.stores.local import LocalStore
from wdstools.stores.memory import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, (1 << 22) + 513, 0])
def test_a_cold_read_sees_every_byte_of_a_file_of_any_size(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(b"x" * size)
    assert sum(cold_blocks(LocalStore(tmp_path), "file")) == size


def test_a_file_system_that_knows_no_direct_reading_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("os.O_DIRECT", raising=False)
    (tmp_path / "file").write_bytes(b"x" * 10_000)
    assert sum(cold_blocks(LocalStore(tmp_path), "file")) == 10_000


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(wt.NotFoundError):
        list(cold_blocks(LocalStore(tmp_path), "nothing"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("limits")
    return wt.pack(str(write_city_pairs(folder / "source")), str(folder / "shards"), shard_samples=10).dataset


def test_a_cold_read_goes_through_every_shard_once_here_and_far_away(dataset: Dataset) -> None:
    shards = dataset.manifest.splits["train"]
    far = MemoryStore()
    for entry in shards:
        far.put(entry.path, dataset.shards.get(entry.path))
    total = sum(entry.bytes for entry in shards)
    assert read_cold(dataset, shards, 60).count == total
    assert read_cold(Dataset(dataset.manifest, dataset.root, dataset.metadata, far), shards, 60).count == total


def test_a_warm_read_begins_again_when_it_is_through(dataset: Dataset) -> None:
    shards = dataset.manifest.splits["train"]
    assert isinstance(dataset.shards, LocalStore)
    assert read_warm(dataset.shards, shards, 0.05).count > sum(entry.bytes for entry in shards)


def test_hashing_and_decoding_go_round_with_fewer_images_than_threads() -> None:
    images = [tiny_jpeg(1)]
    assert hash_payloads(images, 0.01).count >= 1
    found = decode_images(images, "jpg", 3, 0.01)
    assert found.count >= 3
    assert found.seconds > 0


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_each_type_of_image_is_decoded_to_rgb(kind: str) -> None:
    decode = decoder_for(kind)
    for side in (20, 8, 30):
        sink = io.BytesIO()
        Image.new("L", (side, side + 1), 200).save(sink, {"jpg": "JPEG"}.get(kind, kind))
        decoded = decode(sink.getvalue())
        shape = decoded.shape if kind == "jpg" else (decoded.height, decoded.width, len(decoded.getbands()))
        assert shape == (side + 1, side, 3)
