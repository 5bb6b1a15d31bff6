"""Atomic writes, manifest and lock."""

import errno
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import zatlas
from zatlas import files
from zatlas.errors import UsageError, WriteError


def test_new_file_replaces_only_on_success(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(ValueError, match="boom"), files.new_file(path) as temporary:
        temporary.write_text("half")
        raise ValueError("boom")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_full_disk_is_one_clear_sentence(tmp_path):
    with (
        pytest.raises(WriteError, match=r"cannot write a.txt: No space left") as caught,
        files.new_file(tmp_path / "a.txt"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "free some space" in caught.value.hint
    assert caught.value.exit_code == 73


def test_new_folder_takes_the_place_of_the_old_one(tmp_path):
    for content in ("one", "two"):
        with files.new_folder(tmp_path / "f") as temporary:
            (temporary / f"{content}.txt").write_text(content)
    assert [p.name for p in (tmp_path / "f").iterdir()] == ["two.txt"]
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


@pytest.fixture
def calls(monkeypatch):
    """What the disk is asked for, in order: ("fsync", file, bytes) and ("replace", file), a file named by its inode."""
    made, fsync, replace = [], os.fsync, os.replace

    def listening_fsync(descriptor):
        made.append(("fsync", os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size))
        fsync(descriptor)

    def listening_replace(source, target, **options):
        made.append(("replace", Path(source).stat().st_ino))
        replace(source, target, **options)

    monkeypatch.setattr(os, "fsync", listening_fsync)
    monkeypatch.setattr(os, "replace", listening_replace)
    return made


def test_a_file_is_on_the_disk_before_it_takes_its_name_and_its_name_after(tmp_path, calls):
    (tmp_path / "a.txt").write_text("old")
    files.write_text(tmp_path / "a.txt", "whole")
    file, folder = (tmp_path / "a.txt").stat(), tmp_path.stat()
    assert [call[:2] for call in calls] == [("fsync", file.st_ino), ("replace", file.st_ino), ("fsync", folder.st_ino)]
    assert calls[0][2] == len("whole")


def test_a_folder_is_on_the_disk_with_all_its_files_before_it_takes_its_name(tmp_path, calls):
    texts = {"one.txt": "1", "deep/two.txt": "22", "deep/deeper/three.txt": "333"}
    for _ in range(2):  # the second takes the place of the first
        calls.clear()
        with files.new_folder(tmp_path / "f") as temporary:
            (temporary / "deep" / "deeper").mkdir(parents=True)
            for name, content in texts.items():
                (temporary / name).write_text(content)
        folder = tmp_path / "f"
        named = calls.index(("replace", folder.stat().st_ino))
        before = {call[1]: call[2] for call in calls[:named] if call[0] == "fsync"}
        for name, content in texts.items():
            assert before[(folder / name).stat().st_ino] == len(content)
        assert {path.stat().st_ino for path in (folder, folder / "deep", folder / "deep" / "deeper")} <= set(before)
        assert ("fsync", tmp_path.stat().st_ino) in [call[:2] for call in calls[named:]]


def test_leftovers_are_removed(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / ".partial-1-x").mkdir()
    (tmp_path / ".partial-1-y").write_text("")
    files.remove_leftovers(tmp_path)
    assert [p.name for p in tmp_path.rglob("*")] == ["models"]


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", {"x": float("nan")})


def test_csv_makes_formulas_inert(tmp_path):
    files.write_csv(tmp_path / "a.csv", ["name", "value"], [("=cmd()", -1.5), ("B07", 2)])
    assert (tmp_path / "a.csv").read_text() == "name,value\n'=cmd(),-1.5\nB07,2\n"


def test_verify_finds_a_flipped_bit_and_a_missing_file(tmp_path):
    files.write_text(tmp_path / "a.txt", "a")
    files.write_text(tmp_path / "b.txt", "b")
    files.write_manifest(tmp_path, {"state": "complete"})
    assert files.verify(tmp_path) == []
    (tmp_path / "a.txt").write_text("c")
    (tmp_path / "b.txt").unlink()
    assert files.verify(tmp_path) == ["a.txt was changed after it was written", "b.txt is missing"]


def _is_free(study: Path) -> bool:
    try:
        with files.lock(study):
            return True
    except UsageError:
        return False


_WRITER = """
import sys
from pathlib import Path
from zatlas import errors, files

print("ready", flush=True)
sys.stdin.readline()
try:
    with files.lock(Path(sys.argv[1])):
        print("has it", flush=True)
        sys.stdin.readline()
except errors.UsageError as err:
    print(err.what, flush=True)
"""


class _Writer:
    """Another process that tries to take the lock when told so, and keeps it until told to go on."""

    def __init__(self, study):
        command = [sys.executable, "-c", _WRITER, str(study)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def says(self):
        return self.process.stdout.readline().strip()

    def go_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self, *, kill=False):
        if kill:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def writers(tmp_path):
    """Starts writers that are ready to take the lock."""
    started = []

    def start(n):
        several = [_Writer(tmp_path) for _ in range(n)]
        started.extend(several)
        assert {writer.says() for writer in several} == {"ready"}
        return several

    yield start
    for writer in started:
        if writer.process.returncode is None:
            writer.end(kill=True)


def test_second_writer_is_told_who_writes_and_a_killed_one_is_replaced(tmp_path, writers):
    (writer,) = writers(1)
    writer.go_on()
    assert writer.says() == "has it"
    since = json.loads((tmp_path / ".lock-holder.json").read_text())["since"]
    who = f"process {writer.process.pid} on {files.socket.gethostname()} has been writing into {tmp_path.name}"
    with pytest.raises(UsageError, match=re.escape(f"{who} since {since}")) as caught, files.lock(tmp_path):
        pass
    assert caught.value.hint == "wait for it, or choose another folder with -o"
    writer.end(kill=True)
    assert {p.name for p in tmp_path.iterdir()} == {".lock", ".lock-holder.json"}
    with files.lock(tmp_path):
        assert json.loads((tmp_path / ".lock-holder.json").read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_holder_whose_number_now_belongs_to_another_process_is_gone(tmp_path):
    """Numbers of processes are given again: process 1 always runs, and has nothing to do with zatlas."""
    for text in (json.dumps({"pid": 1, "host": files.socket.gethostname(), "since": "now"}), "half a li", "[1]", ""):
        (tmp_path / ".lock-holder.json").write_text(text)
        assert _is_free(tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_of_many_processes_at_once_exactly_one_takes_over_from_a_dead_one(tmp_path, writers):
    (tmp_path / ".lock").touch()
    (tmp_path / ".lock-holder.json").write_text(json.dumps({"pid": 1, "host": files.socket.gethostname()}))
    several = writers(6)
    for writer in several:
        writer.go_on()
    said = [writer.says() for writer in several]
    assert said.count("has it") == 1
    assert all("process" in words for words in said if words != "has it")
    for writer in several:
        writer.end()
    assert list(tmp_path.iterdir()) == []


def test_a_process_holds_a_study_once_whichever_thread_asks(tmp_path):
    with files.lock(tmp_path):
        assert not _is_free(tmp_path)
        with ThreadPoolExecutor(1) as pool:
            assert not pool.submit(_is_free, tmp_path).result()
        assert json.loads((tmp_path / ".lock-holder.json").read_text())["pid"] == os.getpid()
    assert _is_free(tmp_path)


def test_a_lock_is_let_go_after_an_error_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="boom"), files.lock(tmp_path):
        files.write_manifest(tmp_path, {})
        raise ValueError("boom")
    assert json.loads((tmp_path / "manifest.json").read_text())["files"] == {}
    assert [p.name for p in tmp_path.iterdir()] == ["manifest.json"]
    assert _is_free(tmp_path)


def test_a_folder_that_cannot_be_locked_is_one_clear_sentence(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(WriteError, match=r"cannot write \.lock"), files.lock(tmp_path / "file"):
        pass


def test_lock_of_another_computer_is_respected_whatever_runs_here(tmp_path):
    """Its process numbers say nothing about the processes of this computer, and its locks may not be seen here."""
    for pid in (2**22 + 1, os.getpid()):
        holder = tmp_path / ".lock-holder.json"
        text = json.dumps({"pid": pid, "host": "another-computer", "since": "yesterday"})
        holder.write_text(text)
        for _ in range(2):
            with pytest.raises(UsageError, match=f"process {pid} on another-computer") as caught, files.lock(tmp_path):
                pass
            assert f"remove {holder}" in caught.value.hint
            assert holder.read_text() == text
        assert (tmp_path / ".lock").exists()  # it may be the other computer's


def test_the_version_on_record_is_that_of_the_code_that_ran(monkeypatch):
    monkeypatch.setattr("zatlas.files.metadata.version", lambda name: "0.0.1")
    found = files.environment()
    assert found["zatlas"] == zatlas.__version__
    assert found["numpy"] == "0.0.1"
