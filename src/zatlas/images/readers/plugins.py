"""Readers of other packages, found through the entry point group `zatlas.readers`.

They are looked for when a path turns up that zatlas does not read itself. A package that fails is named: nobody should
have to guess whose fault a message is.
"""

import dataclasses
import logging
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from zatlas.errors import ZatlasError
from zatlas.images.readers.reader import Reader, ReadOptions, problem_text
from zatlas.images.source import ArraySource, DamagedImage, ImageSource, Pixels, Scan

__all__ = ["GROUP", "other_readers"]

log = logging.getLogger(__name__)

GROUP = "zatlas.readers"
"""Entry point group; the value of an entry point is a `Reader`."""
_SLOW_S = 2.0
_FOREIGN_ERRORS = (
    ImportError, SyntaxError, AttributeError, NameError, TypeError, ValueError, LookupError, OSError, RuntimeError,
    ArithmeticError, AssertionError, MemoryError, EOFError, BufferError, Warning, SystemExit,
)  # fmt: skip
"""What the code of another package may raise: every built-in error but those by which the person asks to stop."""

Result = TypeVar("Result")


def other_readers() -> list[Reader]:
    """Readers of other packages, in order of their names; one that cannot be loaded is left out with a warning."""
    found = sorted(metadata.entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value))
    return [reader for entry in found if (reader := _loaded(entry)) is not None]


def _loaded(entry: metadata.EntryPoint) -> Reader | None:
    owner = f"{entry.dist.name} {entry.dist.version}" if entry.dist else f"the package of {entry.value}"
    advice = f"update or remove {entry.dist.name if entry.dist else 'it'}"
    start = perf_counter()
    try:
        reader = entry.load()
    except _FOREIGN_ERRORS as err:
        log.warning(
            "reader %s of %s cannot be loaded and is left out (%s: %s): %s",
            entry.name, owner, type(err).__name__, problem_text(err), advice,
        )  # fmt: skip
        return None
    seconds = perf_counter() - start
    if seconds > _SLOW_S:
        log.warning("reader %s of %s took %.1f s to load: %s", entry.name, owner, seconds, advice)
    if not isinstance(reader, Reader):
        kind = type(reader).__name__
        log.warning(
            "reader %s of %s is left out, because it is a %s, not a Reader: %s", entry.name, owner, kind, advice
        )
        return None
    return _guarded(reader, owner)


def _guarded(reader: Reader, owner: str) -> Reader:
    """The reader, whose failures name the package that it comes from."""
    name = f"reader {reader.name} of {owner}"
    recognises = reader.recognises

    def claims(path: Path, start: bytes) -> bool:
        return recognises is not None and _asked(name, lambda: bool(recognises(path, start)))

    def opened(path: Path, options: ReadOptions) -> Scan:
        scan = _asked(name, lambda: reader.open(path, options))
        if not isinstance(scan, Scan) or not all(isinstance(found.source, ImageSource) for found in scan.images):
            raise DamagedImage(f"cannot be read: {name} gives no Scan of images that are each an ImageSource")
        for found in scan.images:
            if not isinstance(found.source, ArraySource):
                found.source = _Guarded(found.source, name)
        scan.files = scan.files or ([path] if path.is_file() else [])
        return scan

    return dataclasses.replace(reader, open=opened, recognises=claims)


def _asked(name: str, ask: Callable[[], Result]) -> Result:
    """What a function of another package gives.

    Raises:
        DamagedImage: it fails in a way that is not meant for a user; with the name of the package.
    """
    try:
        return ask()
    except ZatlasError:
        raise
    except _FOREIGN_ERRORS as err:
        raise DamagedImage(f"cannot be read: {name} fails with {type(err).__name__}: {problem_text(err)}") from err


class _Guarded(ImageSource):
    """A source of another package, whose windows are what was asked for."""

    __slots__ = ("channel_names", "dtype", "levels", "name", "pixel_size_um", "reads_windows", "shape", "source")

    def __init__(self, source: ImageSource, name: str) -> None:
        self.source, self.name = source, name
        names = ("shape", "dtype", "levels", "pixel_size_um", "channel_names", "reads_windows")
        for attribute, value in _asked(name, lambda: [(each, getattr(source, each)) for each in names]):
            setattr(self, attribute, value)

    def shape_at(self, level: int) -> tuple[int, int, int]:
        return _asked(self.name, lambda: self.source.shape_at(level))

    def read(
        self, y: int = 0, x: int = 0, height: int | None = None, width: int | None = None, level: int = 0
    ) -> Pixels:
        height, width = self.checked_window(y, x, height, width, level)
        pixels = _asked(self.name, lambda: self.source.read(y, x, height, width, level))
        if pixels.shape != (self.shape[0], height, width) or pixels.dtype != self.dtype:
            found = f"{pixels.shape} {pixels.dtype}"
            promised = f"{(self.shape[0], height, width)} {self.dtype}"
            raise DamagedImage(f"cannot be read: {self.name} gives {found} where {promised} is due")
        return pixels
