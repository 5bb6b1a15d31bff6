"""Study folders on disk: how files get there whole, and what is recorded about them.

A reader never meets a half-written file. Everything is written under a temporary name in the same folder, flushed to
the disk, then renamed into place; a result of several files is a folder renamed into place. `manifest.json` lists
every file of a study with its sha256. One process at a time writes into a study (`lock`).
"""

import contextlib
import csv
import hashlib
import json
import os
import platform
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from zatlas import __version__
from zatlas.errors import DataError, FileAccessError, UsageError, WriteError

__all__ = [
    "SCHEMA_VERSION",
    "environment",
    "is_writable",
    "lock",
    "make_folder",
    "new_file",
    "new_folder",
    "read_json",
    "remove_leftovers",
    "sha256",
    "spreadsheet_safe",
    "verify",
    "write_csv",
    "write_json",
    "write_manifest",
    "write_text",
]

SCHEMA_VERSION = 1
_LEFTOVER = ".partial-"
_LOCK, _HOLDER = ".lock", ".lock-holder.json"
_UNLISTED = ("manifest.json", _LOCK, _HOLDER, "cache", "explorer")  # the last two can be made again at any time


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, it is flushed and renamed to `path`.

    Raises:
        WriteError: the folder cannot be written or the disk is full; what stood at `path` is untouched.
    """
    temporary = path.with_name(f"{_LEFTOVER}{os.getpid()}-{path.name}")
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)
    except OSError as err:
        raise _write_error(path, err) from err
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; when the block ends well, it is flushed and takes the place of `path`."""
    temporary = path.with_name(f"{_LEFTOVER}{os.getpid()}-{path.name}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        for file in temporary.rglob("*"):
            _flush(file)
        _flush(temporary)
        _replace_folder(temporary, path)
    except OSError as err:
        raise _write_error(path, err) from err
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(temporary: Path, path: Path) -> None:
    old = path.with_name(f"{_LEFTOVER}{os.getpid()}-old-{path.name}")
    if path.exists():
        path.replace(old)
    temporary.replace(path)
    _flush(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def _flush(path: Path) -> None:
    """Make a file, or the names in a folder, durable (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_error(path: Path, err: OSError) -> WriteError:
    hint = "free some space or choose another folder with -o" if err.errno == 28 else "choose another folder with -o"
    return WriteError(f"cannot write {path.name}: {err.strerror or err}", where=str(path.parent), hint=hint)


def make_folder(path: Path) -> Path:
    """Create a folder and its parents.

    Raises:
        WriteError: it cannot be created, or files cannot be created in it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise _write_error(path, err) from err
    if not os.access(path, os.W_OK):
        raise WriteError(f"cannot write into {path}", hint="choose another folder with -o")
    return path


def is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder; asked of the disk, because a read-only mount refuses even root."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def remove_leftovers(folder: Path) -> None:
    """Remove what an interrupted process left under a temporary name."""
    for leftover in list(folder.rglob(f"{_LEFTOVER}*")):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole."""
    with new_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys; NaN and infinity are refused because JSON has none."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        FileAccessError: it cannot be read.
        DataError: it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise FileAccessError(f"cannot read {path.name}: {err.strerror}", where=str(path.parent)) from err
    except ValueError as err:
        raise DataError(f"{path.name} is damaged: it is not JSON", where=str(path.parent)) from err


def spreadsheet_safe(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula, made inert by a leading apostrophe; other values unchanged.

    Example:
        >>> spreadsheet_safe("=1+1"), spreadsheet_safe("B07"), spreadsheet_safe(-3.5)
        ("'=1+1", 'B07', -3.5)
    """
    is_formula = isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r")
    return f"'{value}" if is_formula else value


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV table whole, with formula-like text made inert.

    A DataFrame `t` is written by `write_csv(path, list(t.columns), t.itertuples(index=False))`.
    """
    with new_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([spreadsheet_safe(name) for name in header])
        writer.writerows([spreadsheet_safe(value) for value in row] for row in rows)


def sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def environment() -> dict[str, str]:
    """Versions that a result depends on: Python, the platform and the numerical libraries."""
    packages = ("torch", "numpy", "scikit-learn", "scikit-image", "scipy", "h5py", "anndata", "pandas")
    versions = {name: metadata.version(name) for name in packages}
    place = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    return {**place, "zatlas": __version__, **versions}  # of the code that runs, not of what pip once installed


def write_manifest(study: Path, facts: dict[str, Any]) -> None:
    """Write manifest.json: `facts` (state, command, seed, fingerprint) and the sha256 of every file of the study."""
    files = {
        file.relative_to(study).as_posix(): {"sha256": sha256(file), "bytes": file.stat().st_size}
        for file in sorted(study.rglob("*"))
        if file.is_file() and not _is_unlisted(file.relative_to(study))
    }
    write_json(study / "manifest.json", {"schema_version": SCHEMA_VERSION, **facts, "files": files})


def _is_unlisted(relative: Path) -> bool:
    return relative.parts[0] in _UNLISTED or any(part.startswith(_LEFTOVER) for part in relative.parts)


def verify(study: Path) -> list[str]:
    """Compare a study with its manifest; returns one line for each file that is missing or changed."""
    problems = []
    for name, record in read_json(study / "manifest.json")["files"].items():
        file = study / name
        if not file.is_file():
            problems.append(f"{name} is missing")
        elif sha256(file) != record["sha256"]:
            problems.append(f"{name} was changed after it was written")
    return problems


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold the right to write into a study; the system itself takes it from a process that ends, however it ends.

    `.lock` is what is locked, `.lock-holder.json` says by whom. Computers that share a folder may not see each other's
    locks: a holder on another computer is believed until its file is removed.

    Raises:
        UsageError: another process, or this one already, is writing there now.
        WriteError: the folder cannot be written.
    """
    path, holder = folder / _LOCK, folder / _HOLDER
    own = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        held = FileLock(path).acquire(blocking=False)
    except Timeout as err:
        raise _is_held(holder) from err
    except OSError as err:
        raise _write_error(path, err) from err
    with held:
        if _read_holder(holder).get("host", own["host"]) != own["host"]:
            raise _is_held(holder)
        try:
            write_json(holder, own)
            yield
        finally:
            holder.unlink(missing_ok=True)
            with contextlib.suppress(PermissionError):  # Windows removes no open file; there filelock does it after
                path.unlink(missing_ok=True)  # while it is held: who opened it before finds it nameless and gives up


def _read_holder(holder: Path) -> dict[str, Any]:
    try:
        return dict(read_json(holder))
    except (FileAccessError, DataError, TypeError, ValueError):
        return {}


def _is_held(holder: Path) -> UsageError:
    """The refusal, with what is known about who writes there."""
    known, study, hint = _read_holder(holder), holder.parent.name, "wait for it, or choose another folder with -o"
    if not known:
        return UsageError(f"another process took {study} at the same moment", hint=hint)
    if known.get("host") != socket.gethostname():
        hint += f", or remove {holder} if that process is gone"
    who = f"process {known.get('pid')} on {known.get('host')}"
    return UsageError(f"{who} has been writing into {study} since {known.get('since')}", hint=hint)
