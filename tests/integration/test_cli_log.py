"""``--log-file`` and the logger ``wdstools``: what happens, with times, without secrets, and nothing unless it is asked for."""

from __future__ import annotations

import http.server
import logging
import os
import re
import threading
from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from tests.support.came import came
from tests.support.city_pairs import write_city_pairs
from tests.support.command import assert_clean_failure, run_command
from wdstools.log import tell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO) wdstools\.[a-z]+ \[\d+\] .+")


@pytest.fixture(scope="module", name="source")
def _source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_city_pairs(tmp_path_factory.mktemp("log") / "source", damaged=True)


def test_a_log_tells_shards_skips_and_the_end_with_their_times(source: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    ran = run_command("pack", source, tmp_path / "set", "--shards", "2", "--log-file", log)
    assert ran.code == 3
    text = log.read_text()
    for line in came(text.splitlines()):
        assert LINE.fullmatch(line), line
    assert f"begins: wdstools pack {source}" in text.splitlines()[0]
    assert re.search(r" ends exit=3 seconds=\d", text.splitlines()[-1])
    assert len(re.findall(r"wdstools.work \[\d+\] done task=Shard of=\S+/\S+\.tar ", text)) == 4
    assert "skipped: img/train/oslo/cut.jpg reason=image-truncated" in text
    before = len(text.splitlines())
    assert (
        run_command("mirror", tmp_path / "set", tmp_path / "copy", "-y", env={"WDSTOOLS_LOG_FILE": str(log)}).code == 0
    )
    more = log.read_text().splitlines()[before:]
    assert [line for line in more if " wdstools.plan " in line and "manifest.json" in line]
    assert [line for line in more if " wdstools.dataset " in line and wt.open_dataset(tmp_path / "set").root in line]


def test_an_error_is_in_the_log_too_and_a_line_of_it_stays_one_line(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert_clean_failure(run_command("info", "no\nwhere\x1b[31m", "--log-file", log, cwd=tmp_path), 4)
    lines = log.read_text().splitlines()
    for line in came(lines):
        assert LINE.fullmatch(line), line
    assert [line for line in lines if "error: dataset-missing" in line]


@pytest.mark.parametrize("where", ["", "folder", "no/such/log.txt"])
def test_a_log_that_cannot_be_written_is_refused_before_any_work(where: str, source: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    ran = run_command("pack", source, "set", "--log-file", where, cwd=tmp_path)
    assert_clean_failure(ran, 2, 4)
    assert not (tmp_path / "set").exists()


@pytest.fixture(name="server")
def _server() -> Iterator[str]:
    """A server that has nothing."""

    class Nothing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_requests_are_in_the_log_and_no_secret_is(server: str, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    canaries = ("CANARY-password", "CANARY-signature-1234567890", "CANARY-login")
    place = f"http://CANARY-login:CANARY-password@{server}/set?sig=CANARY-signature-1234567890"
    env = {"AWS_SECRET_ACCESS_KEY": "CANARY-key", "HF_TOKEN": "CANARY-token"}
    ran = run_command("info", place, "--log-file", log, env=env)
    plain = run_command("info", f"http://{server}/set", "--log-file", log, env=env)
    assert_clean_failure(plain, 4)
    text = log.read_text() + ran.err + ran.out
    assert re.search(r"wdstools\.stores \[\d+\] request: GET http://\S+/set/\S+ status=404 .*seconds=\d", text)
    assert [canary for canary in (*canaries, "CANARY-key", "CANARY-token") if canary in text] == []


def test_the_library_tells_its_logger_and_is_silent_without_one(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    wt.pack(source, tmp_path / "quiet", executor=wt.open_executor("serial"))
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    with caplog.at_level(logging.INFO, "wdstools"):
        wt.pack(source, tmp_path / "told", executor=wt.open_executor("serial"))
        tell("stores", "asked", where="https://user:CANARY-1@host/x?token=CANARY-2")
    told = [record.getMessage() for record in caplog.records]
    assert [text for text in told if text.startswith("done task=Shard")]
    assert told[-1] == "asked where=https://host/x?..."
    assert {record.name.split(".")[0] for record in caplog.records} == {"wdstools"}


def test_a_log_goes_to_a_file_or_to_what_the_shell_has_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    ran = run_command("schema", "info", "--log-file", tmp_path / "pipe")
    assert ran.code == 4
    assert "a pipe" in ran.err
    assert "hint: give a file" in ran.err
    ran = run_command("schema", "info", "--log-file", "/dev/stderr")
    assert (ran.code, "begins: wdstools schema info" in ran.err) == (0, True)


def test_no_line_is_appended_to_what_is_no_log(source: Path, tmp_path: Path) -> None:
    picture = tmp_path / "a.jpg"
    picture.write_bytes(next(source.rglob("*.jpg")).read_bytes())
    before = picture.read_bytes()
    ran = run_command("info", tmp_path, "--log-file", picture)
    assert (ran.code, "file-in-the-way" in ran.err) == (4, True)
    assert picture.read_bytes() == before
    log = tmp_path / "log"
    log.touch()
    for lines in (3, 6):
        run_command("info", tmp_path, "--log-file", log)
        assert len(log.read_text().splitlines()) >= lines
