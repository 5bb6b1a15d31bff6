"""What a reader is: what it recognises, and a function that finds the images of a path.

`Kinds` looks a path up in the rows of a table: readers, and kinds of file that are known but not read. It opens nothing
but the first bytes of a file.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from zatlas.images.source import Found, ImageSource, Scan, printable

__all__ = ["Kind", "Kinds", "ReadOptions", "Reader", "Refused", "image_scan", "problem_text"]

START_BYTES = 132
"""How much of a file is looked at to recognise it [bytes]; DICOM says what it is at byte 128."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of file or folder, and the marks by which it is recognised; any one of them is enough.

    Attributes:
        name: Such as "TIFF".
        magic: First bytes.
        suffixes: Endings of the name, in small letters with the dot; asked when no first bytes are known.
        recognises: Takes the path and its first 132 bytes (none of a folder), for what the other marks cannot tell.
        is_folder: Whether it is a folder.
        is_decisive: Whether its marks, the ending too, come before those of all others: a slide called .svs begins as
            any TIFF does.
    """

    name: str
    magic: tuple[bytes, ...] = ()
    suffixes: tuple[str, ...] = ()
    recognises: Callable[[Path, bytes], bool] | None = None
    is_folder: bool = False
    is_decisive: bool = False

    def has_content(self, path: Path, start: bytes) -> bool:
        """Whether the first bytes, or what `recognises` looks at, are of this kind."""
        return start.startswith(self.magic) or (self.recognises is not None and self.recognises(path, start))

    def has_name(self, path: Path) -> bool:
        """Whether the name ends as this kind does; of two endings the first counts when the last is .gz."""
        endings = [suffix.lower() for suffix in path.suffixes[-2:]]
        return bool(endings) and (endings[0] if endings[-1] == ".gz" else endings[-1]) in self.suffixes


@dataclass(frozen=True, kw_only=True)
class Reader(Kind):
    """A kind that is read.

    Attributes:
        open: Finds the images of a path, reading no more than headers; raises `DamagedImage` when it cannot.
        is_image: Whether a folder of images may hold it: an image, or pages that are images.
        has_keys: Whether `ReadOptions.key` chooses between its arrays.
    """

    open: Callable[[Path, "ReadOptions"], Scan]
    is_image: bool = False
    has_keys: bool = False


@dataclass(frozen=True, kw_only=True)
class Refused(Kind):
    """A kind that is known but not read.

    Attributes:
        advice: How to make something of it that is read; "" when there is nothing particular to say.
        is_archive: Whether it only wraps other files.
    """

    advice: str = ""
    is_archive: bool = False


class Kinds:
    """Looks up what kind a path is.

    Args:
        rows: Of the table: readers of zatlas, then what is refused.
        others: Gives the readers of other packages; called once, when a path is found that no row reads.
    """

    def __init__(self, rows: Sequence[Kind], others: Callable[[], Sequence[Reader]] = tuple) -> None:
        self._rows, self._find_others = tuple(rows), others

    def of(self, path: Path, *, with_others: bool = True) -> Kind | None:
        """The kind of a file or folder; None when it is empty or not known.

        A reader of another package gets what zatlas does not read itself, and folders whose name has an ending
        (`brain.n5`): a known format is read in one way, whatever is installed.

        Args:
            path: A file or folder.
            with_others: Whether readers of other packages are asked.

        Raises:
            OSError: it cannot be opened.
        """
        start = _start_of(path)
        found = _claimant(self._rows, path, start)
        if not with_others or (isinstance(found, Reader) and not (found.is_folder and path.suffix)):
            return found
        return _claimant(self._others, path, start) or found

    def refused(self, path: Path) -> Refused | None:
        """The kind that is refused to which a path belongs, whether or not a reader would take it."""
        found = _claimant([row for row in self._rows if isinstance(row, Refused)], path, _start_of(path))
        return found if isinstance(found, Refused) else None

    @cached_property
    def _others(self) -> tuple[Reader, ...]:
        return tuple(self._find_others())


@dataclass(frozen=True)
class ReadOptions:
    """What a reader is told besides the path.

    Attributes:
        key: The array, dataset or group that is meant; "" leaves the choice to the reader.
        kinds: Says what the files of a folder are.
    """

    key: str = ""
    kinds: Kinds = field(default_factory=lambda: Kinds(()))


def _start_of(path: Path) -> bytes | None:
    """First bytes of a file; None of a folder."""
    if path.is_dir():
        return None
    with path.open("rb") as file:
        return file.read(START_BYTES)


def _claimant(rows: Sequence[Kind], path: Path, start: bytes | None) -> Kind | None:
    """The first row that recognises a path: decisive ones, then by content, then by name."""
    is_folder, start = start is None, start or b""
    if not (is_folder or start):
        return None
    rows = [row for row in rows if row.is_folder == is_folder]
    decisive = (row for row in rows if row.is_decisive and (row.has_name(path) or row.has_content(path, start)))
    by_content = (row for row in rows if row.has_content(path, start))
    by_name = (row for row in rows if row.has_name(path))
    return next(decisive, None) or next(by_content, None) or next(by_name, None)


def image_scan(path: Path, kind: str, sources: Sequence[ImageSource], note: str = "") -> Scan:
    """What a reader of single image files returns; several images of a file are its pages.

    Args:
        path: The file.
        kind: Such as "TIFF".
        sources: Its images.
        note: What is done to the stored values; "" when nothing.
    """
    pages = f" of {len(sources)} pages, each an image" if len(sources) > 1 else ""
    scan = Scan("image", f"{kind} file{pages}", files=[path] if path.is_file() else [], note=note)
    for k, source in enumerate(sources):
        scan.images.append(Found(printable(path.name) + (f"[{k}]" if len(sources) > 1 else ""), k, source))
    return scan


def problem_text(err: BaseException) -> str:
    """What an error of a library says, fit for a table."""
    if isinstance(err, OSError) and err.strerror:
        return err.strerror
    return printable(str(err) or type(err).__name__)
