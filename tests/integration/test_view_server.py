"""The server of ``view``: who may ask, what it answers, and that it reads no more than it must."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

import wdstools as wt
from tests.support.city_pairs import tiny_jpeg, write_city_pairs
from tests.support.command import run_command
from tests.support.foreign_tars import tar_bytes, write
from tests.support.viewing import Viewing, viewing, write_index_alone
from wdstools.report.viewer.server import need_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.nginx import WebServer

BITE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("viewing")
    source = write_city_pairs(folder / "source")
    for name in ("copy-1", "copy-2"):
        (source / f"img/val/rome/{name}.jpg").write_bytes(tiny_jpeg(3))
        (source / f"captions/val/rome/{name}.txt").write_text(f"Straße am Abend {BITE}")
    wt.pack(str(source), str(folder / "set"), shards=2, name="cities")
    return folder / "set"


@pytest.fixture(scope="module")
def page(shards: Path) -> Iterator[Viewing]:
    with viewing(shards) as served:
        yield served


def test_strangers_get_one_bare_answer(page: Viewing) -> None:
    port = page.url.split(":")[2].split("/")[0]
    good = f"/{page.token}/api/about"
    tries: list[tuple[int, str, str, dict[str, str]]] = [
        (404, "GET", "/", {}),
        (404, "GET", "/api/about", {}),
        (404, "GET", f"/{'x' * len(page.token)}/api/about", {}),
        (404, "GET", f"/{page.token[:-1]}/api/about", {}),
        (404, "GET", f"/{page.token}", {}),
        (421, "GET", good, {"Host": "example.org"}),
        (421, "GET", good, {"Host": f"example.org:{port}"}),
        (421, "GET", good, {"Host": "127.0.0.1"}),
        (421, "GET", good, {"Host": f"127.0.0.1.example.org:{port}"}),
        (403, "GET", good, {"Origin": "http://example.org"}),
        (403, "POST", f"/{page.token}/api/check?level=size", {"Origin": f"http://localhost:{int(port) % 65535 + 1}"}),
        (403, "GET", good, {"Sec-Fetch-Site": "cross-site"}),
        (403, "GET", good, {"Sec-Fetch-Site": "same-site"}),
        (405, "PUT", good, {}),
        (405, "DELETE", good, {}),
    ]
    for status, method, path, headers in tries:
        found = page.raw(path, method, headers)
        assert (found.status, found.body) == (status, b""), (method, path, headers)
        assert "default-src 'none'" in found.headers["content-security-policy"]
    assert page.ask("api/about", headers={"Host": f"localhost:{port}"}).status == 200


def test_it_listens_on_this_machine_alone(page: Viewing) -> None:
    port = int(page.url.split(":")[2].split("/")[0])
    table = Path("/proc/net/tcp")
    if not table.exists():
        pytest.skip("only Linux tells who listens where")
    lines = [line.split() for line in table.read_text().splitlines()[1:]]
    listening = [line[1] for line in lines if line[3] == "0A" and line[1].endswith(f":{port:04X}")]
    assert listening == [f"0100007F:{port:04X}"]


def test_every_answer_forbids_what_no_page_needs(page: Viewing) -> None:
    for path in (
        "",
        "files/view.css",
        "files/main.js",
        "api/about",
        "thumb/0",
        "picture/0",
        "member/0/txt",
        "files/none",
        "none",
    ):
        found = page.ask(path)
        policy = found.headers["content-security-policy"]
        assert "default-src 'none'" in policy, path
        assert "unsafe" not in policy, path
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["referrer-policy"] == "no-referrer"
        assert found.headers["cross-origin-resource-policy"] == "same-origin"
    assert page.ask("files/..%2Fapp.py").status == 404
    assert page.ask("files/guard.py").status == 404


FILTERS: list[tuple[dict[str, Any], str]] = [
    ({"split": "val"}, "split == 'val'"),
    ({"label": "oslo"}, "label == 'oslo'"),
    ({"label": ""}, "label is None"),
    ({"q": "STRASSE"}, "key == 'none'"),
    ({"q": "straße abend"}, "'Straße' in caption"),
    ({"q": "ROME/1000 caption"}, "'rome/1000' in key"),
    ({"side_min": 20, "side_max": 30}, "width >= 20 and height >= 20 and width <= 30 and height <= 30"),
    ({"where": "cls == 1 and length > 3000"}, "cls == 1 and length > 3000"),
    ({"where": "'rome' in source or source is None"}, "'rome' in source or source is None"),
    (
        {"split": "train", "label": "rome", "q": "caption 7"},
        "split == 'train' and label == 'rome' and 'caption' in caption and '7' in caption",
    ),
    ({"bytes_min": 10**9}, "key == 'none'"),
]


@pytest.mark.parametrize(("given", "where"), FILTERS, ids=lambda one: str(one)[:40])
def test_filters_show_what_the_same_condition_selects(
    page: Viewing, shards: Path, given: dict[str, Any], where: str
) -> None:
    wanted = [sample.key for sample in wt.head(str(shards), 1_000, where=where)]
    found = page.samples(**given, count=500)
    assert [sample["key"] for sample in found["samples"]] == wanted
    assert found["total"] == len(wanted)
    counted = page.ask("api/stats", **given).document
    assert counted["stats"]["samples"] == len(wanted)


def test_parts_of_the_gallery_are_those_of_the_whole(page: Viewing) -> None:
    whole = page.samples(count=500)["samples"]
    assert len(whole) == 42
    assert [sample["number"] for sample in whole] == list(range(42))
    parts = [sample for start in range(0, 42, 5) for sample in page.samples(start=start, count=5)["samples"]]
    assert parts == whole
    assert page.samples(start=42, count=5)["samples"] == []


@pytest.mark.parametrize(
    ("path", "given", "status", "code"),
    [
        ("api/samples", {"where": "colour == 'red'"}, 400, "where-not-understood"),
        ("api/samples", {"where": "__import__('os')"}, 400, "where-not-understood"),
        ("api/samples", {"split": "holdout"}, 400, "split-missing"),
        ("api/samples", {"side_min": "-1"}, 400, "usage"),
        ("api/samples", {"side_min": "1e400"}, 400, "usage"),
        ("api/samples", {"count": "501"}, 400, "usage"),
        ("api/samples", {"start": "9" * 40}, 400, "usage"),
        ("api/samples", {"colour": "red"}, 400, "usage"),
        ("api/samples", {"q": "x" * 1_001}, 400, "usage"),
        ("api/samples", {"same": "roughly"}, 400, "usage"),
        ("api/sample/42", {}, 404, "sample-missing"),
        ("api/sample/99999999999999999999", {}, 404, "sample-missing"),
        ("api/alike/0", {"level": "roughly"}, 400, "usage"),
        pytest.param(f"api/sample/{'9' * 5_000}", {}, 404, "", id="5,000 digits"),
        pytest.param(f"picture/{'9' * 5_000}", {}, 404, "", id="a picture of 5,000 digits"),
        ("picture/4242", {}, 404, "sample-missing"),
        ("thumb/4242", {}, 404, "sample-missing"),
        ("member/0/png", {}, 404, "member-missing"),
        ("member/0/..%2f..%2fetc", {}, 404, ""),
    ],
)
def test_what_cannot_be_is_said_and_harms_nothing(
    page: Viewing, path: str, given: dict[str, Any], status: int, code: str
) -> None:
    found = page.ask(path, **given)
    assert found.status == status, found.body
    if code:
        assert found.document["code"] == code
    assert b"Traceback" not in found.body
    assert page.ask("api/about").status == 200


def test_connections_that_ask_nothing_keep_nobody_waiting(page: Viewing) -> None:
    parts = urlsplit(page.url)
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(socket.create_connection((parts.hostname, parts.port)))
        assert page.ask("api/about").status == 200


def test_a_sample_is_told_with_everything_about_it(page: Viewing, shards: Path) -> None:
    dataset = wt.open_dataset(shards)
    for number in (0, 20, 41):
        told = page.ask(f"api/sample/{number}").document
        sample = dataset[told["key"]]
        assert isinstance(sample, wt.Sample)
        shard = (shards / told["shard"]["path"]).read_bytes()
        for member in told["members"]:
            payload = shard[member["offset"] : member["offset"] + member["bytes"]]
            assert payload == sample[member["ext"]]
            assert page.ask(f"member/{number}/{member['ext']}").body == payload
        assert told["caption"] == sample["txt"].decode()
        assert page.ask(f"picture/{number}").body == sample["jpg"]
        assert len(told["sha256"]) == 64
        commands = {one["verb"]: one["text"] for one in told["commands"]}
        assert list(commands) == ["cat", "extract", "verify", "repair", "remove"]


def test_the_commands_that_it_shows_do_what_they_say(page: Viewing, shards: Path, tmp_path: Path) -> None:
    import shlex

    found = page.samples(q="straße")["samples"][0]
    commands = {one["verb"]: one["text"] for one in page.ask(f"api/sample/{found['number']}").document["commands"]}
    words = shlex.split(commands["cat"])
    assert words[:2] == ["wdstools", "cat"]
    assert words[4] == ">"
    assert run_command(*words[1:4]).raw == page.ask(f"picture/{found['number']}").body
    shutil.copytree(shards, tmp_path / "set")
    words = [word.replace(str(shards), str(tmp_path / "set")) for word in shlex.split(commands["remove"])]
    ran = run_command(*words[1:], "--yes")
    assert ran.code == 0, ran.err
    left = [sample.key for sample in wt.head(str(tmp_path / "set"), 1_000)]
    assert len(left) == 41
    assert found["key"] not in left
    words = [word.replace("DIR", str(tmp_path / "files")) for word in shlex.split(commands["extract"])]
    assert run_command(*words[1:]).code == 0
    assert len([*(tmp_path / "files").rglob("*.jpg")]) == 1


def test_members_are_files_to_save_and_never_a_page(tmp_path: Path) -> None:
    page = f"<!doctype html>{BITE}".encode()
    members = [
        ("a.jpg", tiny_jpeg(1)),
        ("a.html", page),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
        ("b.png", page),
    ]
    write(tmp_path / "tars", {"train-000.tar": tar_bytes(members)})
    wt.adopt(str(tmp_path / "tars"), str(tmp_path / "set"))
    with viewing(tmp_path / "set") as served:
        assert served.samples()["total"] == 2
        for name in ("html", "svg"):
            found = served.ask(f"member/0/{name}")
            assert found.headers["content-type"] == "application/octet-stream"
            assert found.headers["content-disposition"].startswith("attachment")
            assert "sandbox" in found.headers["content-security-policy"]
        assert served.ask("picture/1").headers["content-type"] == "application/octet-stream"
        assert served.ask("thumb/1").status == 422
        assert served.ask("picture/0").headers["content-type"] == "image/jpeg"
        verbs = [one["verb"] for one in served.ask("api/sample/0").document["commands"]]
        assert verbs == ["cat", "extract", "verify"]


def test_damage_that_verify_found_is_brought_to_its_sample(shards: Path, tmp_path: Path) -> None:
    shutil.copytree(shards, tmp_path / "set")
    victim = wt.head(str(shards), 5, splits="train")[3]
    with viewing(shards) as served:
        (number,) = (one["number"] for one in served.samples(count=500)["samples"] if one["key"] == victim.key)
        offset = served.ask(f"api/sample/{number}").document["members"][0]["offset"]
    tar = tmp_path / "set" / victim.shard
    data = bytearray(tar.read_bytes())
    data[offset + 30] ^= 4
    tar.write_bytes(data)
    ran = run_command("verify", tmp_path / "set", "--json")
    assert ran.code == 1
    (tmp_path / "findings.jsonl").write_text(ran.out)
    with viewing(tmp_path / "set", "--findings", tmp_path / "findings.jsonl") as served:
        assert served.ask("api/about").document["check"]["findings"] == 1
        (found,) = served.samples(damaged="1")["samples"]
        assert (found["key"], found["damaged"]) == (victim.key, True)
        told = served.ask(f"api/sample/{found['number']}").document
        assert told["findings"][0]["key"] == victim.key
        assert served.ask(f"member/{found['number']}/jpg").status == 409
        assert served.ask(f"picture/{found['number']}").body == bytes(
            data[offset : offset + len(tiny_jpeg(int(victim.key[5:])))]
        )
    with viewing(tmp_path / "set") as served:
        assert served.samples(damaged="1")["total"] == 0
        assert served.ask("api/check", "POST", level="digest").status == 200
        while (check := served.ask("api/check").document)["state"] == "working":
            pass
        assert (check["state"], check["findings"]) == ("done", 1)
        assert [one["key"] for one in served.samples(damaged="1")["samples"]] == [victim.key]
    other = run_command("view", shards, "--findings", tmp_path / "none.jsonl")
    assert other.code == 4
    (tmp_path / "odd.jsonl").write_text('{"type": "finding", "kind": 3}\n')
    assert run_command("view", shards, "--findings", tmp_path / "odd.jsonl").code == 5
    (tmp_path / "stranger.jsonl").write_text(ran.out.replace(wt.open_dataset(shards).root, "0" * 64))
    assert run_command("view", shards, "--findings", tmp_path / "stranger.jsonl").code == 1


def test_what_is_whole_of_a_damaged_shard_is_shown_and_what_is_not_is_told(shards: Path, tmp_path: Path) -> None:
    """Nobody has verified: a shard was cut in its middle, and one byte of another flipped."""
    shutil.copytree(shards, tmp_path / "set")
    first, second = (entry.path for entry in wt.open_dataset(shards).manifest.splits["train"])
    with viewing(shards) as served:
        samples = served.samples(split="train", count=100)["samples"]
        details = [served.ask(f"api/sample/{one['number']}").document for one in samples]
    cut, flipped = ([one for one in details if one["shard"]["path"] == path] for path in (first, second))
    middle = cut[len(cut) // 2]
    data = (shards / first).read_bytes()
    (tmp_path / "set" / first).write_bytes(data[: middle["members"][0]["offset"] + 5])
    damaged = bytearray((shards / second).read_bytes())
    place = flipped[1]["members"][0]
    damaged[place["offset"] + place["bytes"] // 2] ^= 1
    (tmp_path / "set" / second).write_bytes(damaged)
    with viewing(tmp_path / "set") as served:
        before, after = cut[0]["number"], cut[-1]["number"]
        whole = cut[0]["members"][0]
        assert served.ask(f"picture/{before}").body == data[whole["offset"] :][: whole["bytes"]]
        assert served.ask(f"member/{before}/jpg").status == 200
        assert served.ask(f"member/{after}/jpg").status == 422
        assert served.ask(f"thumb/{after}").status == 422
        assert served.ask(f"api/state/{after}").document["code"] == "shard-size"
        wrong = flipped[1]["number"]
        assert served.ask(f"member/{wrong}/jpg").status == 409
        assert served.ask(f"picture/{wrong}").body == damaged[place["offset"] :][: place["bytes"]]
        told = served.ask(f"api/state/{wrong}").document
        assert (told["whole"], told["code"]) == (False, "sample-damaged")
        assert served.ask(f"api/state/{flipped[0]['number']}").document["whole"] is True


def test_samples_of_an_index_that_cannot_be_read_are_counted_and_said(shards: Path, tmp_path: Path) -> None:
    shutil.copytree(shards, tmp_path / "set")
    index = tmp_path / "set/.wdstools/index/train-000000.parquet"
    index.write_bytes(index.read_bytes()[:-400])
    lost = wt.open_dataset(shards).manifest.splits["train"][0].samples
    with viewing(tmp_path / "set", env={"XDG_CACHE_HOME": str(tmp_path / "cache")}) as served:
        whole = served.samples(count=500)
        assert whole["total"] == 42
        assert len([one for one in whole["samples"] if one.get("code") == "index-damaged"]) == lost
        searched = served.samples(q="caption", count=500)
        assert [(one["shard"], one["samples"], one["code"]) for one in searched["unread"]] == [
            ("train/train-000000.tar", lost, "index-damaged")
        ]
        assert searched["total"] == 40 - lost


def _groups(served: Viewing, level: str) -> Any:
    while (found := served.ask("api/samples", same=level).document)["finished"] is False:
        pass
    return found


def test_images_that_are_the_same_are_found_and_nothing_is_written(shards: Path) -> None:
    before = {path: path.read_bytes() for path in shards.rglob("*") if path.is_file()}
    with viewing(shards) as served:
        found = _groups(served, "exact")
        assert sorted(one["key"] for one in found["samples"]) == ["rome/3", "rome/copy-1", "rome/copy-2"]
        assert {one["alike"] for one in found["samples"]} == {3}
        alike = served.ask(f"api/alike/{found['samples'][0]['number']}", level="exact").document
        assert (alike["state"], alike["size"]) == ("ready", 3)
        missing = _groups(served, "re-encode")
        assert missing["groups"]["state"] == "missing"
        assert "wdstools duplicates" in missing["groups"]["hint"]
    assert before == {path: path.read_bytes() for path in shards.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_hashes_that_are_stored_give_the_groups_of_their_level(shards: Path, tmp_path: Path) -> None:
    shutil.copytree(shards, tmp_path / "set")
    told = run_command("duplicates", tmp_path / "set", "--level", "re-encode", "--json")
    wanted = sorted(member["key"] for line in told.lines if line["type"] == "group" for member in line["members"])
    with viewing(tmp_path / "set") as served:
        found = _groups(served, "re-encode")
        assert sorted(one["key"] for one in found["samples"]) == wanted
        assert len(wanted) >= 3


def test_the_first_page_of_a_large_dataset_needs_one_index(tmp_path: Path) -> None:
    write_index_alone(tmp_path / "set", 40, 50)
    for path in sorted((tmp_path / "set/.wdstools/index").iterdir())[1:]:
        path.unlink()
    with viewing(tmp_path / "set") as served:
        found = served.samples(count=50)
        assert found["total"] == 2_000
        assert [one["caption"] for one in found["samples"][:2]] == ["caption of number 0", "caption of number 1"]


@pytest.mark.slow
def test_a_million_samples_are_searched_and_counted(tmp_path: Path) -> None:
    write_index_alone(tmp_path / "set", 100, 10_000)
    with viewing(tmp_path / "set") as served:
        assert served.samples(start=999_990)["samples"][-1]["key"] == "rome/999999"
        assert served.samples(q="number 77777")["total"] == 19
        while not (counted := served.ask("api/stats").document)["finished"]:
            pass
        assert counted["stats"]["samples"] == 1_000_000


def test_a_dataset_from_afar_is_read_by_ranges(nginx: WebServer, shards: Path) -> None:
    shutil.copytree(shards, nginx.root / "viewed")
    with viewing(f"{nginx.endpoint}/viewed") as far, viewing(shards) as near:
        assert far.samples(count=500)["samples"] == near.samples(count=500)["samples"]
        assert far.ask("picture/7").body == near.ask("picture/7").body
        assert far.ask("thumb/7").status == 200
        told = far.ask("api/sample/7").document
        assert told["shard"]["url"].startswith(f"{nginx.endpoint}/viewed/")
        assert f"{nginx.endpoint}/viewed" in told["commands"][0]["text"]


def test_it_ends_when_it_is_interrupted_and_says_where_it_was(shards: Path) -> None:
    with viewing(shards) as served:
        assert served.ask("").status == 200
        code, _, err = served.end()
        assert (code, "Traceback" in err) == (0, False), err
    port = served.url.split(":")[2].split("/")[0]
    with viewing(shards, "--port", port) as first:
        assert first.url.split(":")[2].split("/")[0] == port
        taken = run_command("view", shards, "--port", port)
        assert (taken.code, "port-taken" in taken.err) == (4, True)


def test_a_condition_bounds_everything_that_is_shown(shards: Path) -> None:
    with viewing(shards, "--where", "label == 'oslo'", "--split", "train") as served:
        assert served.samples()["total"] == 15
        assert served.samples(label="rome")["total"] == 0
        assert served.ask("api/stats").document["stats"]["samples"] == 15
        assert [split["name"] for split in served.ask("api/about").document["splits"]] == ["train"]


def test_without_its_libraries_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import util

    find = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name, *rest: None if name == "uvicorn" else find(name, *rest))
    with pytest.raises(wt.UsageError, match="not installed") as refused:
        need_server()
    assert refused.value.code == "extra-missing"
    assert "wdstools[view]" in refused.value.hint
    assert "--html" in refused.value.hint


def test_a_shard_with_many_findings_marks_its_samples_once(shards: Path, tmp_path: Path) -> None:
    """By key, by bytes, by index and by shard; each finding is told with its samples."""
    root = wt.open_dataset(shards).root
    samples = wt.head(str(shards), 100, splits="val")
    with viewing(shards) as served:
        numbers = {one["key"]: one["number"] for one in served.samples(split="val", count=100)["samples"]}
        told = served.ask(f"api/sample/{numbers[samples[2].key]}").document
    findings = [
        {"kind": "payload", "path": samples[0].shard, "key": samples[0].key, "message": f"number {n}"} for n in range(3)
    ]
    bytes_of = {
        "kind": "padding",
        "path": told["shard"]["path"],
        "start": told["offset"] + told["length"] - 1,
        "length": 2,
    }
    findings += [
        {**bytes_of, "message": "two samples"},
        {"kind": "manifest", "path": ".wdstools/manifest.json", "message": "elsewhere"},
    ]
    lines = [{"type": "finding", **one} for one in findings] + [{"type": "summary", "level": "samples", "root": root}]
    (tmp_path / "findings.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with viewing(shards, "--findings", tmp_path / "findings.jsonl") as served:
        damaged = [one["key"] for one in served.samples(damaged="1", count=100)["samples"]]
        near = [
            one.key
            for one in samples
            if one.shard == told["shard"]["path"] and one.row - told["shard"]["row"] in (0, 1)
        ]
        assert set(damaged) == {samples[0].key, *near}
        assert len(served.ask(f"api/sample/{numbers[samples[0].key]}").document["findings"]) >= 3
        assert [one["kind"] for one in served.ask("api/check").document["elsewhere"]] == ["manifest"]
