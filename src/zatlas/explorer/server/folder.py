"""The files that the server may send: those that the bundle's manifest and the built page list, and no others.

A request names a file by its path in that list; what is not in it does not exist here. Each is opened without following
links and only inside its folder, as it was when the server started.
"""

import asyncio
import json
import mimetypes
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from zatlas import files
from zatlas.errors import DataError
from zatlas.explorer.server.requests import Refused

__all__ = ["BundleFacts", "ServedFiles"]

_CHUNK_BYTES = 262_144
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webp": "image/webp",
}


@dataclass(frozen=True)
class BundleFacts:
    """What a manifest says to those who serve its bundle."""

    manifest: dict[str, Any]
    hashes: dict[str, str]
    """sha256 of the listed files."""
    n: int
    """Rows of the atlas."""
    display: tuple[float, float]
    """Network grey scale shown as black and as white."""
    latent_dims: dict[str, int]
    """Number of latent dimensions by model."""

    @classmethod
    def read(cls, bundle: Path) -> "BundleFacts":
        """Of the bundle in a folder.

        Raises:
            FileAccessError: there is no manifest.
            DataError: it is damaged, incomplete or of a newer zatlas.
        """
        manifest = files.read_json(bundle / "manifest.json")
        try:
            if manifest["schema_version"] != 1:
                raise DataError("the explorer's files were made by a newer zatlas", hint="pip install --upgrade zatlas")
            images = manifest["images"]
            display = (float(images["display"]["low"]), float(images["display"]["high"]))
            dims = {str(model["name"]): int(model["latent_dim"]) for model in manifest["models"]}
            hashes = {str(name): str(entry["sha256"]) for name, entry in manifest["files"].items()}
            return cls(manifest, hashes, int(images["n"]), display, dims)
        except (AttributeError, KeyError, TypeError, ValueError) as err:
            hint = "make the explorer's files again"
            raise DataError("the explorer's manifest.json is incomplete", hint=hint) from err

    def manifest_with(self, *, decode: bool, images: bool) -> bytes:
        """The manifest as it is handed out: with what can be asked for besides the files."""
        server = {"decode": decode, "images": images}
        return json.dumps({**self.manifest, "server": server}, allow_nan=False).encode()


@dataclass(frozen=True)
class _Listed:
    path: Path
    """Without links."""
    tag: str
    """ETag: the sha256 where the list has it."""


class ServedFiles:
    """Files by the path under which they are asked for.

    Args:
        root: Folder in which all of them lie.
        names: Their paths below `root`, under which they are asked for.
        hashes: sha256 of some of them, by the same path.
        may_be_links: Follow links once, now: some installers link the files of a package.

    Raises:
        DataError: a listed file lies outside `root`, is a link, or is missing.
    """

    def __init__(
        self, root: Path, names: Iterable[str], hashes: Mapping[str, str] | None = None, *, may_be_links: bool = False
    ) -> None:
        real_root = root.resolve()
        self._files: dict[str, _Listed] = {}
        for name in names:
            real = real_root / name
            if may_be_links:
                real = real.resolve()
            is_inside = may_be_links or (real.resolve() == real and real.is_relative_to(real_root))
            if not real.is_file() or not is_inside:
                raise DataError(f"{name} is listed but is not a file of {root.name}", hint="make the explorer again")
            size = real.stat().st_size
            self._files[name] = _Listed(real, f'"{(hashes or {}).get(name, f"{size}-{real.stat().st_mtime_ns}")}"')

    def read(self, name: str) -> bytes:
        """All bytes of a file.

        Raises:
            Refused: 404, it is not listed or has gone since.
        """
        descriptor, _ = _opened(self._find(name).path)
        with os.fdopen(descriptor, "rb") as stream:
            return stream.read()

    def _find(self, name: str) -> _Listed:
        listed = self._files.get(name)
        if listed is None:
            raise Refused(404, "no-such-file", "there is no such file")
        return listed

    def answer(self, name: str, headers: Headers) -> Response:
        """The file, or the part of it that a Range header asks for.

        Raises:
            Refused: 404, it is not listed or has gone since.
        """
        listed = self._find(name)
        if headers.get("if-none-match") == listed.tag:
            return Response(status_code=304, headers={"ETag": listed.tag})
        descriptor, size = _opened(listed.path)
        first, last = _span(headers, listed.tag, size)
        fixed = {"ETag": listed.tag, "Accept-Ranges": "bytes", "Content-Length": str(max(last - first + 1, 0))}
        if first > last and size:
            os.close(descriptor)
            raise Refused(416, "range", "the range asked for lies outside the file")
        is_part = (first, last) != (0, size - 1)
        if is_part:
            fixed["Content-Range"] = f"bytes {first}-{last}/{size}"
        return _FileAnswer(descriptor, first, last + 1, 206 if is_part else 200, fixed, _media_type(name))


def _media_type(name: str) -> str:
    suffix = Path(name).suffix.lower()
    return _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def _opened(path: Path) -> tuple[int, int]:
    """A descriptor of a file that is no link and lies where it was listed, and its size."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    except OSError as err:
        raise Refused(404, "file-gone", "this file is not there any more") from err
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or path.resolve() != path:
        os.close(descriptor)
        raise Refused(404, "file-gone", "this file is not there any more")
    return descriptor, found.st_size


def _span(headers: Headers, tag: str, size: int) -> tuple[int, int]:
    """First and last byte asked for; the whole file without a Range, or with one that is not understood."""
    whole = (0, size - 1)
    asked = _RANGE.fullmatch(headers.get("range", "").strip())
    if not size or asked is None or asked.groups() == ("", "") or headers.get("if-range", tag) != tag:
        return whole
    first, last = asked.groups()
    if not first:
        return max(size - int(last), 0) if int(last) else size, size - 1
    return int(first), min(int(last), size - 1) if last else size - 1


class _FileAnswer(Response):
    """A part of an open file, sent in chunks; closes it."""

    def __init__(
        self, descriptor: int, start: int, end: int, status: int, headers: Mapping[str, str], media_type: str
    ) -> None:
        self.status_code, self.media_type, self.background = status, media_type, None
        self.descriptor, self.start, self.end = descriptor, start, end
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; to HEAD, only what GET would begin with."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            place = os.lseek(self.descriptor, self.start, os.SEEK_SET)
            while scope["method"] != "HEAD" and place < self.end:
                chunk = await asyncio.to_thread(os.read, self.descriptor, min(_CHUNK_BYTES, self.end - place))
                if not chunk:
                    break
                place += len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            os.close(self.descriptor)
