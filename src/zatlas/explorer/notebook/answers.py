"""What the notebook's Python answers to the page: its files, decoded latents, and images at their full size.

The page asks by messages with a number, and gets that number back. As on the server, nothing in a message is used as a
path: files are those that the manifest lists, images are numbers.
"""

import time
from pathlib import Path
from typing import Any

from zatlas.explorer.page import page_files
from zatlas.explorer.server.folder import BundleFacts, ServedFiles
from zatlas.explorer.server.requests import Refused, latents_among
from zatlas.explorer.server.work import Decoders, Images, IsOver
from zatlas.studies.study import Study

__all__ = ["Answers"]

_MOST_PATH = 1024
_MOST_ID = 64
_PATIENCE_S = 10.0

Answer = tuple[dict[str, Any], list[bytes]]


class Answers:
    """What the page of a study may ask for, and gets.

    Args:
        bundle: Folder of the explorer's files.
        page: Folder of the built page.
        study: Whose models decode and whose images are shown.
    """

    def __init__(self, bundle: Path, page: Path, study: Study) -> None:
        facts = BundleFacts.read(bundle)
        self.n, self._dims = facts.n, facts.latent_dims
        self._page = ServedFiles(page, page_files(page), may_be_links=True)
        self._data = ServedFiles(bundle, facts.hashes)
        self._decoders = Decoders(study)
        self._images = Images(study, self.n, facts.display)
        self._is_opening = False
        self._manifest = facts.manifest_with(decode=True, images=self._images.may_be_there)

    def answer(self, content: Any) -> Answer | None:
        """The answer to a message and its buffers; None to what is no question.

        Args:
            content: {"kind", "id"} and what the kind needs: `path` (read), `model`, `z` and perhaps `draw`
                (decode), `row` (image, context).

        Returns:
            {"kind": "file", "frames", "image" or "context", "id", "ok"} with `why` where it is not ok, and one buffer
            of bytes where it is; a context also has its `box` (y, x, height, width [px]).
        """
        known = {
            "read": ("file", self._file), "decode": ("frames", self._frames), "image": ("image", self._image),
            "context": ("context", self._context),
        }  # fmt: skip
        if not isinstance(content, dict) or not _is_id(content.get("id")) or content.get("kind") not in list(known):
            return None
        kind, answer = known[content["kind"]]
        try:
            facts, found = answer({name: value for name, value in content.items() if name not in ("kind", "id")})
        except Refused as err:
            return {"kind": kind, "id": content["id"], "ok": False, "why": err.message}, []
        return {"kind": kind, "id": content["id"], "ok": True, **facts}, [found]

    def read(self, path: str) -> bytes:
        """The bytes of a file by its path relative to the page.

        Raises:
            Refused: 404, there is no such file.
        """
        if path == "data/manifest.json":
            return self._manifest
        return self._data.read(path[5:]) if path.startswith("data/") else self._page.read(path)

    def _file(self, asked: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        path = asked.get("path")
        if not isinstance(path, str) or len(path) > _MOST_PATH:
            raise Refused(404, "no-such-file", "there is no such file")
        return {}, self.read(path)

    def _frames(self, asked: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        return {}, self._decoders.decode(latents_among(asked, self._dims), _patience())

    def _image(self, asked: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        return {}, self._opened().image(self._row(asked), _patience())

    def _context(self, asked: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        png, box = self._opened().context(self._row(asked), _patience())
        return {"box": list(box)}, png

    def _row(self, asked: dict[str, Any]) -> int:
        row = asked.get("row")
        if not isinstance(row, int) or isinstance(row, bool) or not 0 <= row < self.n:
            raise Refused(404, "no-such-row", "there is no image of this row")
        return row

    def _opened(self) -> Images:
        """The images, which are opened when first asked for."""
        if not self._is_opening:
            self._images.open()
            self._is_opening = True
        return self._images


def _is_id(number: Any) -> bool:
    return isinstance(number, int) or (isinstance(number, str) and len(number) <= _MOST_ID)


def _patience() -> IsOver:
    ends = time.monotonic() + _PATIENCE_S
    return lambda: time.monotonic() > ends
