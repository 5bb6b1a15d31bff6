"""What the server computes: decoded latents, and images at their full size. One thing at a time, in a short queue.

The images are opened in the background when the server starts. Where they are gone, the server says so and goes on.
"""

import asyncio
import contextlib
import io
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

from zatlas.errors import ZatlasError
from zatlas.explorer.greys import eight_bits, shown
from zatlas.explorer.server.requests import Asked, Refused
from zatlas.images.resizing import block_mean
from zatlas.images.source import ImageSource
from zatlas.studies.data import StudyData, locate
from zatlas.studies.study import Study
from zatlas.tiles.loader import Tiles
from zatlas.tiles.transforms import Scaling

__all__ = ["Decoders", "Images", "Worker", "shrunk"]

log = logging.getLogger(__name__)

Result = TypeVar("Result")
IsOver = Callable[[], bool]
Box = tuple[int, int, int, int]
Drawn = tuple[UInt8[np.ndarray, "h w *c"], Box]

_MOST_SIDE_PX = 4096
_CONTEXT_PX = 1024
_BAND_PX = 4_000_000
_DECODE_BATCH = 8
_CACHE_BYTES = 64_000_000


class Worker:
    """One thread that computes for all requests, with a short queue before it.

    Args:
        most_waiting: Jobs that may wait for their turn.
        patience_s: After which a request is answered without its result.
    """

    def __init__(self, *, most_waiting: int = 8, patience_s: float = 10.0) -> None:
        self.most_waiting, self.patience_s = most_waiting, patience_s
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="zatlas-worker")
        self._jobs: set[Future[Any]] = set()
        self._lock = threading.Lock()
        self.is_closing = False

    async def run(self, compute: Callable[[IsOver], Result]) -> Result:
        """The result of compute(is_over), which asks `is_over` now and then and may stop when it says yes.

        Raises:
            Refused: 503, too many jobs wait, or this one took too long.
        """
        ends = time.monotonic() + self.patience_s

        def is_over() -> bool:
            return self.is_closing or time.monotonic() > ends

        with self._lock:
            if self.is_closing:
                raise _stopping()
            if len(self._jobs) > self.most_waiting:
                raise Refused(503, "busy", "too many images are asked for at once", retry_after_s=1)
            job = self._executor.submit(compute, is_over)
            self._jobs.add(job)
        job.add_done_callback(self._forget)
        return await self._result(job, ends)

    async def _result(self, job: Future[Result], ends: float) -> Result:
        try:
            return await asyncio.wait_for(asyncio.wrap_future(job), max(ends - time.monotonic(), 0))
        except TimeoutError as err:
            raise too_slow() from err
        except asyncio.CancelledError:
            if self.is_closing and job.cancelled():
                raise _stopping() from None
            raise

    def _forget(self, job: Future[Any]) -> None:
        with self._lock:
            self._jobs.discard(job)

    def close(self) -> None:
        """Let the job at work stop, drop the others."""
        with self._lock:
            self.is_closing = True
        self._executor.shutdown(wait=False, cancel_futures=True)


def _stopping() -> Refused:
    return Refused(503, "stopping", "the server is being stopped", retry_after_s=1)


def stop_when(is_over: IsOver) -> None:
    """Leave a job that nobody waits for any more.

    Raises:
        Refused: 503, its time is over.
    """
    if is_over():
        raise too_slow()


def too_slow() -> Refused:
    """The answer to a job that takes too long."""
    return Refused(503, "slow", "this takes longer than the server may work on one request", retry_after_s=5)


class Decoders:
    """The trained models of a study, opened when first asked for."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self._open: dict[str, Any] = {}

    def decode(self, asked: Asked, is_over: IsOver) -> bytes:
        """Decoder means on the network's grey scale, float32 little-endian (n, c, h, w), as bytes.

        Raises:
            Refused: 404, the model is gone; 503, it takes too long.
        """
        from zatlas.atlas.drawing import images_of_draw

        latents = np.array(asked.z, np.float32)
        network = self._network(asked.model)
        if network.config.latent_dim != latents.shape[1]:
            raise Refused(404, "model-gone", "this model has been replaced since the explorer's files were made")
        frames = []
        for start in range(0, len(latents), _DECODE_BATCH):
            stop_when(is_over)
            frames.append(images_of_draw(network, latents[start : start + _DECODE_BATCH], asked.draw).numpy())
        return np.concatenate(frames).astype("<f4").tobytes()

    def _network(self, name: str) -> Any:
        if name not in self._open:
            try:
                self._open[name] = self.study.vae(name).network
            except (ZatlasError, OSError) as err:
                log.warning("explorer: the model %s cannot be opened: %s", name, err)
                raise Refused(404, "model-gone", "this model cannot be opened any more") from err
        return self._open[name]


class Images:
    """The images of a study at their own size.

    Args:
        study: Whose images.
        n: Rows of the atlas.
        display: Network grey scale shown as black and as white.
    """

    def __init__(self, study: Study, n: int, display: tuple[float, float]) -> None:
        self.study, self.n, self.display = study, n, display
        self._opened = threading.Event()
        self._data: tuple[StudyData, Tiles] | None = None
        self._cache: OrderedDict[tuple[str, int], tuple[bytes, Box]] = OrderedDict()

    @property
    def may_be_there(self) -> bool:
        """Whether something lies where the images were; whether it is them shows when they are opened."""
        return locate(self.study.config.data.input, self.study.folder).exists()

    def open(self) -> None:
        """Open the images, in the background."""
        threading.Thread(target=self._open, name="zatlas-images", daemon=True).start()

    def _open(self) -> None:
        try:
            data = self.study.data()
            tiles = data.atlas_tiles()
            if len(tiles) == self.n:
                self._data = data, tiles
            else:
                log.warning("explorer: no full-size images: %d tiles, but %d in the atlas", len(tiles), self.n)
        except (ZatlasError, OSError, ValueError) as err:
            log.warning("explorer: no full-size images: %s", err)
        finally:
            self._opened.set()

    def image(self, row: int, is_over: IsOver) -> bytes:
        """An image, or a tile, as PNG.

        Raises:
            Refused: 404, the images are gone; 503, they are being opened.
        """
        return self._cached("image", row, is_over, self._draw_image)[0]

    def context(self, row: int, is_over: IsOver) -> tuple[bytes, Box]:
        """The whole image as PNG of at most 1024 px, and where the tile lies in it: y, x, height, width [px]."""
        return self._cached("context", row, is_over, self._draw_context)

    def _cached(
        self, kind: str, row: int, is_over: IsOver,
        draw: Callable[[StudyData, Tiles, int, IsOver], Drawn],
    ) -> tuple[bytes, Box]:  # fmt: skip
        key = (kind, row)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        data, tiles = self._wait_for_data(is_over)
        try:
            grey, box = draw(data, tiles, row, is_over)
        except (ZatlasError, OSError, ValueError) as err:
            log.warning("explorer: image of row %d cannot be read: %s", row, err)
            raise Refused(404, "image-gone", "this image cannot be read any more") from err
        self._cache[key] = _png(grey), box
        while sum(len(png) for png, _ in self._cache.values()) > _CACHE_BYTES and len(self._cache) > 1:
            self._cache.popitem(last=False)
        return self._cache[key]

    def _wait_for_data(self, is_over: IsOver) -> tuple[StudyData, Tiles]:
        while not self._opened.wait(0.1):
            if is_over():
                raise Refused(503, "opening", "the images are still being opened", retry_after_s=5)
        if self._data is None:
            raise Refused(404, "images-gone", "the images of this study are not where they were")
        return self._data

    def _draw_image(self, data: StudyData, tiles: Tiles, row: int, is_over: IsOver) -> Drawn:
        if data.config.tiles.tile:
            grey = _grey(tiles.take([row])[0], self.display)
        else:
            image = int(tiles.table()["image_row"].iloc[row])
            grey = shrunk(data.originals[image], data.scaling, self.display, most_px=_MOST_SIDE_PX, is_over=is_over)
        return grey, (0, 0, *grey.shape[:2])

    def _draw_context(self, data: StudyData, tiles: Tiles, row: int, is_over: IsOver) -> Drawn:
        place = tiles.table().iloc[row]
        source = data.originals[int(place["image_row"])]
        grey = shrunk(source, data.scaling, self.display, most_px=_CONTEXT_PX, is_over=is_over)
        _, h, w = source.shape
        corner = (int(place["y_px"]), int(place["x_px"])) if data.config.tiles.tile else (0, 0)
        side = (data.side_px, data.side_px) if data.config.tiles.tile else (h, w)
        step = -(-max(h, w) // _CONTEXT_PX)
        first = [max(corner[axis], 0) // step for axis in (0, 1)]
        last = [-(-min(corner[axis] + side[axis], (h, w)[axis]) // step) for axis in (0, 1)]
        return grey, (first[0], first[1], last[0] - first[0], last[1] - first[1])


def shrunk(
    source: ImageSource,
    scaling: Scaling,
    display: tuple[float, float],
    *,
    most_px: int,
    is_over: IsOver = lambda: False,
) -> UInt8[np.ndarray, "h w *c"]:
    """An image as shown, of at most `most_px` a side: blocks of pixels become their mean, read a band at a time.

    Args:
        source: The image.
        scaling: Pixel units to the network's grey scale.
        display: Network grey scale shown as black and as white.
        most_px: Largest side [px].
        is_over: Asked before each band.

    Raises:
        Refused: 503, its time is over.
    """
    _, h, w = source.shape
    step = -(-max(h, w) // most_px)
    rows = max(_BAND_PX // max(w, 1) // step, 1) * step
    bands = []
    for y in range(0, h, rows):
        stop_when(is_over)
        band = scaling.apply(np.asarray(source.read(y, 0, min(rows, h - y), w)))
        bands.append(_grey(block_mean(band, step), display))
    return np.concatenate(bands)


def _grey(x: Shaped[np.ndarray, "c h w"], display: tuple[float, float]) -> UInt8[np.ndarray, "h w *c"]:
    """Network grey scale to 8 bits as shown: (h, w), or (h, w, 3) for colour; other channels are averaged."""
    picture = eight_bits(shown(x[None], display))[0]
    return np.asarray(picture if len(x) == 3 else picture[..., 0])


def _png(grey: UInt8[np.ndarray, "h w *c"]) -> bytes:
    stream = io.BytesIO()
    with contextlib.closing(Image.fromarray(grey)) as image:
        image.save(stream, "PNG", compress_level=3)
    return stream.getvalue()
