"""What a network does to mirror and pull: the dataset that comes out is right, or there is none and it is said why."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_pull import assert_same_files
from tests.servers.proxy import Fault
from tests.support.bucket import InBucket, in_bucket
from tests.support.damaged_dataset import make_dataset
from tests.support.outcome import assert_complete
from wdstools.dataset import Dataset, open_dataset
from wdstools.errors import StoreError, WdsError
from wdstools.executors.local import Serial
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import MANIFEST_PATH, loads
from wdstools.ops.mirror import plan_mirror
from wdstools.ops.pull import PullResult, plan_pull
from wdstools.progress import Silent
from wdstools.reader.select import Selection, Where
from wdstools.stores.meter import Waits
from wdstools.stores.open import open_cloud
from wdstools.stores.retry import Patience

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.s3 import S3Server
    from wdstools.stores.retry import Retrying

SHARD = "train/train-000001.tar"
OSLO = Selection(where=Where("label == 'oslo'"))


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("transfers"), train=24, val=6, shard_samples=8)


@pytest.fixture(scope="module", name="bucket")
def _bucket(folder: Path, swift: S3Server) -> Iterator[InBucket]:
    with pytest.MonkeyPatch.context() as patch:
        yield from in_bucket(folder, swift, patch)


@pytest.fixture(name="there")
def _there(bucket: InBucket) -> Iterator[InBucket]:
    """The dataset in its bucket, and a proxy without faults."""
    bucket.proxy.clear()
    yield bucket
    bucket.proxy.clear()


def faults(quick: str, slow: str) -> list[Any]:
    """Names of faults; the slow ones are the same code seen from other sides."""
    return [*quick.split(), *(pytest.param(name, marks=pytest.mark.slow) for name in slow.split())]


def open_there(url: str) -> Retrying:
    patience = Patience(attempts=3, first_wait=0.01, longest_wait=0.05)
    return open_cloud(url, waits=Waits(connect=5, stall=0.7), patience=patience)


def fetch(there: InBucket, dest: Path, selection: Selection | None = None) -> PullResult:
    store = open_there(there.url)
    data = store.get(MANIFEST_PATH)
    dataset = Dataset(loads(data), sha256_hex(data), store, store)
    return plan_pull(dataset, str(dest), selection=selection).carry_out(Serial(), Silent())


@pytest.mark.parametrize("fault", faults("flip range-ignored reset", "foreign short wrong-range stall busy"))
@pytest.mark.parametrize("chosen", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["whole", "some"])
def test_a_pull_gets_over_what_passes(there: InBucket, tmp_path: Path, fault: str, chosen: bool) -> None:
    body = (there.folder / SHARD).read_bytes()
    there.proxy.add(Fault(fault, path=SHARD, times=1, seconds=1, body=body if fault == "range-ignored" else b"other"))
    fetch(there, tmp_path / "copy", OSLO if chosen else None)
    assert there.proxy.faults[0].times == 0
    assert_complete(tmp_path / "copy")
    if not chosen:
        assert_same_files(there.folder, tmp_path / "copy")


@pytest.mark.parametrize(
    "fault", faults("flip gone", "foreign short range-ignored wrong-range reset busy forbidden gzip skewed")
)
def test_what_does_not_pass_ends_a_pull_with_nothing_half_right(there: InBucket, tmp_path: Path, fault: str) -> None:
    there.proxy.add(Fault(fault, path=SHARD, times=10_000, body=b"other"))
    with pytest.raises(WdsError) as caught:
        fetch(there, tmp_path / "copy")
    assert SHARD in caught.value.where
    assert not (tmp_path / "copy").exists()
    assert not (tmp_path / "copy.partial/new" / SHARD).exists()
    there.proxy.clear()
    result = fetch(there, tmp_path / "copy")
    assert result.kept > 0
    assert_same_files(there.folder, tmp_path / "copy")


@pytest.mark.parametrize("name", faults("manifest.json", "SHA256SUMS train-000000.parquet provenance.json"))
def test_flips_in_what_describes_the_shards_are_never_taken_over(there: InBucket, tmp_path: Path, name: str) -> None:
    for skip in (0, 1):
        there.proxy.clear()
        there.proxy.add(Fault("flip", path=name, at=333, skip=skip))
        dest = tmp_path / f"copy{skip}"
        try:
            fetch(there, dest)
        except WdsError:
            assert not dest.exists()
            fetch(there, dest)
        assert_same_files(there.folder, dest)


def test_a_shard_replaced_in_the_middle_of_a_pull_is_never_mixed_in(there: InBucket, tmp_path: Path) -> None:
    other = (there.folder / "train/train-000000.tar").read_bytes()
    there.proxy.add(Fault("hook", path=SHARD, hook=lambda: there.put(SHARD, other)))
    with pytest.raises(WdsError):
        fetch(there, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    there.put(SHARD, (there.folder / SHARD).read_bytes())
    fetch(there, tmp_path / "copy")
    assert_same_files(there.folder, tmp_path / "copy")


@pytest.mark.parametrize("fault", faults("flip-upload", "foreign-upload short-upload reset-upload busy lost-answer"))
def test_a_mirror_gets_over_what_passes(there: InBucket, fault: str) -> None:
    """One fault on each kind of file: a shard, the claim, an index, the list, the manifest."""
    store = open_there(f"{there.url}-mirror-{fault}")
    paths = (SHARD, "mirroring.json", "train-000000.parquet", "SHA256SUMS", MANIFEST_PATH)
    there.proxy.add(*(Fault(fault, path=path, method="PUT", at=333, body=b"other") for path in paths))
    plan_mirror(open_dataset(str(there.folder)), store).carry_out(Serial(), Silent())
    assert [fault.times for fault in there.proxy.faults] == [0] * len(paths)
    there.proxy.clear()
    assert plan_mirror(open_dataset(str(there.folder)), store).steps == ()


@pytest.mark.parametrize("fault", faults("flip-upload", "foreign-upload short-upload reset-upload busy forbidden"))
def test_what_does_not_pass_ends_a_mirror_without_a_manifest(there: InBucket, fault: str) -> None:
    store = open_there(f"{there.url}-broken-{fault}")
    there.proxy.add(Fault(fault, path=SHARD, method="PUT", times=10_000, at=333, body=b"other"))
    with pytest.raises(WdsError) as caught:
        plan_mirror(open_dataset(str(there.folder)), store).carry_out(Serial(), Silent())
    assert SHARD in caught.value.where
    held = {info.key for info in store.list()}
    assert MANIFEST_PATH not in held
    assert SHARD not in held
    there.proxy.clear()
    result = plan_mirror(open_dataset(str(there.folder)), store).carry_out(Serial(), Silent())
    assert result.same > 0
    assert plan_mirror(open_dataset(str(there.folder)), store).steps == ()


@pytest.mark.parametrize("path", [SHARD, "train-000000.parquet", "SHA256SUMS"])
def test_what_a_gateway_calls_stored_and_did_not_store_is_missed_before_the_manifest_goes_there(
    there: InBucket, path: str
) -> None:
    store = open_there(f"{there.url}-swallowed-{sha256_hex(path.encode())[:8]}")
    there.proxy.add(Fault("swallowed", path=path, method="PUT"))
    with pytest.raises(StoreError) as caught:
        plan_mirror(open_dataset(str(there.folder)), store).carry_out(Serial(), Silent())
    assert caught.value.code == "upload-damaged"
    assert path in caught.value.where
    assert MANIFEST_PATH not in {info.key for info in store.list()}
    plan_mirror(open_dataset(str(there.folder)), store).carry_out(Serial(), Silent())
    assert plan_mirror(open_dataset(str(there.folder)), store).steps == ()


def test_a_file_replaced_by_one_of_which_nothing_is_known_keeps_the_manifest_away(there: InBucket) -> None:
    """Sent in parts, it has no digest of the whole, and an ETag that is none."""
    store, client = open_there(f"{there.url}-replaced"), there.server.client()
    place = {"Bucket": there.bucket, "Key": f"data-replaced/{SHARD}"}

    def replace() -> None:
        upload = {**place, "UploadId": client.create_multipart_upload(**place)["UploadId"]}
        part = client.upload_part(**upload, PartNumber=1, Body=b"x" * (there.folder / SHARD).stat().st_size)
        client.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
        listing = {"Bucket": there.bucket, "Prefix": place["Key"]}
        while "-" not in client.list_objects_v2(**listing)["Contents"][0]["ETag"]:
            time.sleep(0.05)  # a busy Swift lists what it has stored a little later

    plan = plan_mirror(open_dataset(str(there.folder)), store)
    there.proxy.add(Fault("hook", path="list-type", hook=replace))
    with pytest.raises(StoreError) as caught:
        plan.carry_out(Serial(), Silent())
    assert caught.value.code == "upload-damaged"
    assert SHARD in caught.value.where
    assert MANIFEST_PATH not in {info.key for info in store.list()}


def test_a_gateway_that_calls_anything_stored_is_not_believed(there: InBucket) -> None:
    there.proxy.add(Fault("swallowed", path="probe", method="PUT"))
    assert not plan_mirror(open_dataset(str(there.folder)), open_there(f"{there.url}-credulous")).believed


def test_nothing_is_asked_for_alone_where_answers_and_a_listing_prove_it(there: InBucket) -> None:
    store = open_there(f"{there.url}-quiet")
    plan_mirror(open_dataset(str(there.folder)), store).carry_out(Serial(), Silent())
    asked = [seen.path for seen in there.proxy.seen if seen.method == "HEAD"]
    assert [path for path in asked if path.endswith((".tar", ".parquet"))] == []


def test_a_listing_that_leaves_something_out_costs_a_put_and_nothing_else(there: InBucket) -> None:
    store = open_there(there.url)
    there.proxy.add(Fault("short-list", path="list-type"))
    plan = plan_mirror(open_dataset(str(there.folder)), store)
    assert len(plan.steps) == 1
    plan.carry_out(Serial(), Silent())
    assert plan_mirror(open_dataset(str(there.folder)), store).steps == ()


def test_a_listing_that_repeats_itself_is_asked_for_again_and_then_refused(there: InBucket) -> None:
    dataset, store = open_dataset(str(there.folder)), open_there(there.url)
    there.proxy.add(Fault("torn-list", path="list-type"))
    assert plan_mirror(dataset, store).steps == ()
    assert there.proxy.faults[0].times == 0
    there.proxy.add(Fault("torn-list", path="list-type", times=10_000))
    with pytest.raises(WdsError) as caught:
        plan_mirror(dataset, store)
    assert caught.value.code == "list-torn"


def test_running_a_mirror_again_moves_no_payload_in_either_direction(there: InBucket) -> None:
    dataset, store = open_dataset(str(there.folder)), open_there(there.url)
    plan_mirror(dataset, store)
    there.proxy.clear()
    plan = plan_mirror(dataset, store)
    assert plan.steps == ()
    assert there.proxy.bytes_sent(".tar") == there.proxy.bytes_sent(".parquet") == 0
    assert sum(seen.received for seen in there.proxy.seen) < 1_000
