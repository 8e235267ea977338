"""``mirror DATASET hf://datasets/OWNER/NAME`` against a server that speaks the Hub's interface."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import wdstools as wt
from tests.servers.hub import TOKEN, Hub, Pull, hub_server
from tests.support.command import Ran, run_command
from tests.support.damaged_dataset import flipped, make_dataset, shards_of
from wdstools.checks.remote import NOTED_PATH
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.ops.mirror.hub import HubMirrorPlan
from wdstools.ops.mirror.hub_commits import CommitBound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TARGET = "hf://datasets/lab/city"


@pytest.fixture(scope="module", name="made")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("publishing"))


@pytest.fixture(name="dataset")
def _dataset(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "dataset")


@pytest.fixture(name="hub")
def _hub() -> Iterator[Hub]:
    with hub_server() as hub:
        yield hub


def _run(hub: Hub, *arguments: Any, login: str = TOKEN) -> Ran:
    env = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": login, "HF_HUB_DISABLE_TELEMETRY": "1"}
    ran = run_command(*arguments, env=env)
    assert TOKEN not in ran.out + ran.err, "a token is shown"
    assert "Traceback" not in ran.err
    return ran


def _publish(hub: Hub, dataset: Path, *more: str) -> Ran:
    return _run(hub, "mirror", dataset, TARGET, "-y", "--json", *more)


def test_a_dataset_is_published_whole_in_one_commit_and_comes_back(hub: Hub, dataset: Path, tmp_path: Path) -> None:
    ran = _publish(hub, dataset, "--create", "--private")
    assert (ran.code, ran.err) == (0, "")
    repository = hub.repositories["lab/city"]
    assert repository.private
    assert len(repository.log) == 1
    files = hub.files("lab/city")
    for path in (*shards_of(dataset), MANIFEST_PATH, "SHA256SUMS"):
        assert files[path] == (dataset / path).read_bytes()
    assert b"configs:" in files["README.md"]
    assert b"size_categories:" in files["README.md"]
    assert not [path for path in files if NOTED_PATH in path]
    checked = _run(hub, "verify", dataset, "--at", TARGET, "--level", "remote", "--json")
    assert (checked.code, checked.summary["proved"]) == (0, "accident")
    private = _run(hub, "verify", TARGET, "--json", login="hf_other")
    assert (private.code, private.error["code"]) == (4, "denied")
    assert "hf auth login" in private.error["hint"]
    pulled = _run(hub, "pull", TARGET, tmp_path / "copy", "--root", wt.open_dataset(dataset).root, "--json")
    assert (pulled.code, pulled.summary["proved"]) == (0, "forger")


def test_the_second_time_nothing_moves(hub: Hub, dataset: Path) -> None:
    assert _publish(hub, dataset, "--create").code == 0
    sent, commits = len(hub.sent), len(hub.repositories["lab/city"].log)
    again = _publish(hub, dataset)
    assert (again.code, again.summary["uploaded"]) == (0, 0)
    assert (len(hub.sent), len(hub.repositories["lab/city"].log)) == (sent, commits)


def test_a_repository_that_is_not_there_is_not_made_unasked(hub: Hub, dataset: Path) -> None:
    ran = _publish(hub, dataset)
    assert (ran.code, ran.error["code"]) == (4, "repository-missing")
    assert hub.repositories == {}


def test_an_upload_that_was_cut_short_goes_on(hub: Hub, dataset: Path) -> None:
    hub.fail_after = 2
    first = _publish(hub, dataset, "--create")
    assert (first.code, first.error["code"]) == (4, "denied")
    assert hub.repositories["lab/city"].log == [], "nobody sees a part of it"
    hub.fail_after, kept = None, set(hub.blobs)
    assert _publish(hub, dataset, "--create").code == 0
    assert len(hub.sent) == len(set(hub.sent)), "nothing is sent twice"
    assert kept < set(hub.blobs)


def test_an_update_moves_changed_shards_and_says_what_history_holds(hub: Hub, dataset: Path, tmp_path: Path) -> None:
    assert _publish(hub, dataset, "--create").code == 0
    before = hub.repositories["lab/city"].head
    (tmp_path / "keys").write_text(f"{wt.open_dataset(dataset)['train'][0].key}\n")
    removed = _run(hub, "remove", dataset, "--keys", tmp_path / "keys", "--in-place", "-y")
    assert "history keeps every version" in removed.out + removed.err
    refused = _publish(hub, dataset)
    assert (refused.code, refused.error["code"]) == (4, "another-dataset")
    assert "history keeps it" in refused.error["hint"]
    sent = len(hub.sent)
    ran = _publish(hub, dataset, "--replace")
    assert (ran.code, ran.summary["history"]) == (0, before)
    assert len(hub.sent) - sent < 2 * len(shards_of(dataset)), "unchanged shards stay where they are"
    assert len(hub.repositories["lab/city"].log) == 2, "new shards and new manifest come together"
    assert _run(hub, "verify", dataset, "--at", TARGET, "--level", "remote").code == 0
    text = _run(hub, "mirror", make_dataset(tmp_path / "other", train=9), TARGET, "-y", "--replace", "--allow-older")
    assert "history still holds" in text.out


def test_somebody_else_who_commits_meanwhile_wins(hub: Hub, dataset: Path) -> None:
    assert _publish(hub, dataset, "--create").code == 0
    (dataset / "README.md").write_text((dataset / "README.md").read_text() + "\nMore.\n")
    repository = hub.repositories["lab/city"]
    hub.meanwhile = lambda: repository.add({**repository.trees[repository.head], "notes.txt": (None, b"theirs")})
    ran = _publish(hub, dataset)
    assert (ran.code, ran.error["code"]) == (6, "busy")
    assert hub.files("lab/city")["notes.txt"] == b"theirs"


def test_a_damaged_shard_is_not_published(hub: Hub, dataset: Path) -> None:
    shard = dataset / shards_of(dataset)[0]
    shard.write_bytes(flipped(shard.read_bytes(), 3000, 0))
    ran = _publish(hub, dataset, "--create")
    assert (ran.code, ran.error["code"]) == (1, "source-damaged")
    assert hub.sent == []


def test_a_token_that_may_not_write_is_said_and_not_shown(hub: Hub, dataset: Path) -> None:
    ran = _run(hub, "mirror", dataset, TARGET, "-y", "--create", "-v", login="hf_other")
    assert ran.code == 4
    assert "hf auth login" in ran.err
    assert "hf_other" not in ran.out + ran.err


def test_a_hub_that_holds_other_bytes_is_found(hub: Hub, dataset: Path) -> None:
    hub.lies = True
    ran = _publish(hub, dataset, "--create")
    assert (ran.code, ran.error["code"]) == (1, "remote-damaged")
    checked = _run(hub, "verify", dataset, "--at", TARGET, "--level", "remote", "--json")
    assert (checked.code, checked.summary["proved"]) == (1, "nothing")


def test_a_bucket_is_no_repository(hub: Hub, dataset: Path, tmp_path: Path) -> None:
    assert _run(hub, "mirror", dataset, tmp_path / "m", "--create", "-y").code == 2


@pytest.fixture(name="library")
def _library(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)


def _publish_in_parts(dataset: Path, **choices: Any) -> wt.MirrorResult:
    plan = wt.plan_mirror(dataset, TARGET, **choices)
    assert isinstance(plan, HubMirrorPlan)
    return wt.apply(replace(plan, bound=CommitBound(3, 1 << 20)))


def _main_is_whole(hub: Hub, *datasets: Path) -> None:
    """Main stood at nothing but whole datasets, each with its own shards."""
    repository = hub.repositories["lab/city"]
    whole = [{path: (one / path).read_bytes() for path in (*shards_of(one), MANIFEST_PATH)} for one in datasets]
    seen = [
        {path: data for path, (_, data) in repository.trees[head].items() if path.endswith((".tar", MANIFEST_PATH))}
        for head in repository.heads[1:]
    ]
    assert seen == whole


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the library's own


@pytest.mark.usefixtures("library")
def test_too_much_for_one_commit_comes_to_main_at_once(hub: Hub, dataset: Path, tmp_path: Path) -> None:
    new = make_dataset(tmp_path / "new", train=20)
    _publish_in_parts(dataset, create=True)
    first = hub.repositories["lab/city"].head
    result = _publish_in_parts(new, replace=True, delete=True)
    assert len(hub.repositories["lab/city"].log) > 4
    assert result.history == first
    _main_is_whole(hub, dataset, new)
    assert [pull.status for pull in hub.repositories["lab/city"].pulls] == ["merged", "merged"]
    assert (_publish_in_parts(new).uploaded, len(hub.repositories["lab/city"].pulls)) == (0, 2)


@pytest.mark.usefixtures("library")
def test_a_pull_request_that_a_killed_call_left_is_closed_and_those_of_others_are_not(hub: Hub, dataset: Path) -> None:
    _publish_in_parts(dataset, create=True)
    repository = hub.repositories["lab/city"]
    (dataset / "README.md").write_text((dataset / "README.md").read_text() + "\nMore.\n")
    title, head = repository.pulls[0].title, repository.head
    repository.pulls += [Pull(title, head, head, "me"), Pull(title, head, head, "you"), Pull("mine", head, head, "me")]
    plan = wt.plan_mirror(dataset, TARGET)
    assert isinstance(plan, HubMirrorPlan)
    wt.apply(
        replace(
            plan, bound=CommitBound(1, 1 << 20), files=(*plan.files[:-1], replace(plan.files[-1], state="different"))
        )
    )
    assert [pull.status for pull in repository.pulls] == ["merged", "closed", "draft", "draft", "merged"]


@pytest.mark.usefixtures("library")
def test_main_that_moves_while_parts_are_sent_stays_as_others_made_it(hub: Hub, dataset: Path, tmp_path: Path) -> None:
    _publish_in_parts(dataset, create=True)
    repository = hub.repositories["lab/city"]
    hub.meanwhile = lambda: repository.add({**repository.trees[repository.head], "notes.txt": (None, b"theirs")})
    with pytest.raises(wt.BusyError):
        _publish_in_parts(make_dataset(tmp_path / "new", train=20), replace=True)
    assert hub.files("lab/city")[MANIFEST_PATH] == (dataset / MANIFEST_PATH).read_bytes()
    assert hub.files("lab/city")["notes.txt"] == b"theirs"
    assert repository.pulls[-1].status == "closed"


@pytest.mark.usefixtures("library")
def test_what_lies_wrong_on_a_pull_request_does_not_come_to_main(hub: Hub, dataset: Path, tmp_path: Path) -> None:
    _publish_in_parts(dataset, create=True)
    head, hub.lies = hub.repositories["lab/city"].head, True
    with pytest.raises(wt.IntegrityError, match="does not have"):
        _publish_in_parts(make_dataset(tmp_path / "new", train=20), replace=True)
    assert hub.repositories["lab/city"].head == head
    assert hub.repositories["lab/city"].pulls[-1].status == "closed"


@pytest.mark.usefixtures("library")
def test_a_pull_request_that_is_not_merged_can_be_merged_by_hand(hub: Hub, dataset: Path, tmp_path: Path) -> None:
    hub.merges = False
    with pytest.raises(wt.StoreError, match="nothing was changed") as caught:
        _publish_in_parts(dataset, create=True)
    assert f"{hub.url}/datasets/lab/city/discussions/1" in str(caught.value.hint)
    assert MANIFEST_PATH not in hub.files("lab/city")
    pulled = wt.pull(f"{TARGET}@refs/pr/1", tmp_path / "copy", root=wt.open_dataset(dataset).root)
    assert pulled.authenticated


@pytest.mark.usefixtures("library")
def test_where_no_pull_request_is_taken_there_is_no_dataset_until_the_last_commit(
    hub: Hub, dataset: Path, tmp_path: Path
) -> None:
    hub.takes_pulls = False
    _publish_in_parts(dataset, create=True)
    _publish_in_parts(make_dataset(tmp_path / "new", train=20), replace=True)
    log = hub.repositories["lab/city"].log
    assert len(log) > 4
    touched = [[line["key"] for line in lines if line["value"].get("path") == MANIFEST_PATH] for lines in log]
    assert touched.count(["file"]) == 2
    assert touched.count(["deletedFile"]) == 1
    second = touched.index(["deletedFile"])
    assert touched[second - 1] == ["file"], "the first version was whole"
    assert touched[-1] == ["file"]
    assert json.loads(hub.files("lab/city")[MANIFEST_PATH])["totals"]["samples"] > 14
