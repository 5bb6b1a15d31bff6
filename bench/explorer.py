"""The explorer: first paint, frame times, decoding in the browser, sizes, and how a dragged slider is followed.

    python bench/explorer.py [--only paint frames decode sizes drag] [--runs 5] [--points 1e4 1e5 1e6] [--json FILE]

Bundles of made-up studies (16 latent dimensions, see `explorer_bundle.py`) are opened in Chromium as `zatlas export`
leaves them: a folder on `python -m http.server` over the loopback, or one file from file://. Bundles have no thumbnails
but those of the sizes. Each part prints a Markdown table:

    paint   from the navigation, in a new context each time: the head of the page, the map with all points (read back
            from WebGL), the first decoded picture; bytes transferred
    frames  milliseconds from frame to frame while the mouse drags the map for 3 s; a lasso; another projection. WebGL
            computed by the processor, as there is no graphics card, and the fallback that draws on a 2-D canvas
    decode  the page's own decoder against torch and ONNX Runtime on one thread each, for decoders of several sizes
    sizes   page, single file and folder against their goals
    drag    a slider dragged for 2 s with 60 events per second

Needs the built page, Playwright and Chromium. Contestants take turns; the load of the machine is noted.
"""

import argparse
import contextlib
import gzip
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import contest
import explorer_page as page
import numpy as np
from explorer_bundle import D, Networks, Shape, exported, write_bundle

PARTS = ("paint", "frames", "decode", "sizes", "drag")
_FOUR = (32, 64, 128, 256)  # the default of 0.1.0
SHAPES = (
    Shape(64, (16, 32, 64, 128)),
    Shape(),  # the default
    Shape(128, _FOUR),
    Shape(128, (64, 128, 256, 512)),
    Shape(256, _FOUR),
    Shape(128, _FOUR, blocks=1),
    Shape(256, (64, 128, 256, 512)),
    Shape(256, _FOUR, blocks=1),
)
LIVE, ON_RELEASE = 300, 2000
"""Most multiply-adds of a decoder that follows a slider, or is computed on release [million]."""
PAGE_GOAL_MB, FILE_GOAL_MB, LIVE_GOAL_MS = 5.0, 15.0, 1000 / 30
IMAGES = 2400
PAN_S, DRAG_S = 3.0, 2.0
SINGLES, BATCHES, BATCH = 60, 15, 16
Turns = dict[str, list[dict[str, float]]]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts")
    options.add_argument("--runs", type=int, default=5, help="turns of each contestant")
    options.add_argument("--points", nargs="+", type=_count, default=[10**4, 10**5, 10**6], help="such as 1e4 1e5")
    options.add_argument("--json", type=Path, default=contest.HERE / "results" / "explorer.json")
    chosen = options.parse_args()
    facts: dict[str, Any] = {"load_at_start": os.getloadavg()}
    about = contest.machine()
    print(f"{about['cores']} cores of {about['processor']}; load average {_load()}")
    with tempfile.TemporaryDirectory() as name:
        site = Site(Path(name))
        measures: dict[str, Callable[[], dict[str, Any]]] = {
            "paint": partial(paint, site, chosen.points, chosen.runs),
            "frames": partial(frames, site, chosen.points, chosen.runs),
            "decode": partial(decode, site, chosen.runs),
            "sizes": partial(sizes, site),
            "drag": partial(drag, site, chosen.points, chosen.runs),
        }
        for part in (part for part in PARTS if part in chosen.only):
            begin = time.monotonic()
            facts[part] = measures[part]()
            print(f"\n({part}: {time.monotonic() - begin:.0f} s, load average at the end {_load()})", flush=True)
    contest.save(chosen.json.stem, facts, folder=chosen.json.parent)


def _count(text: str) -> int:
    return int(float(text))


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


class Site:
    """Bundles and exports, made when first asked for.

    Args:
        folder: Where to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.networks: dict[tuple[Shape, bool], Networks] = {}

    def network(self, shape: Shape, *, with_encoder: bool = False) -> Networks:
        """A decoder (and encoder) as ONNX."""
        key = (shape, with_encoder)
        if key not in self.networks:
            self.networks[key] = exported(shape, with_encoder=with_encoder)
        return self.networks[key]

    def bundle(self, n: int, shape: Shape, *, with_encoder: bool = False, with_thumbnails: bool = False) -> Path:
        """The bundle of `n` images with these networks."""
        name = f"{n}-{SHAPES.index(shape)}{'-encoder' * with_encoder}{'-pictures' * with_thumbnails}"
        folder = self.folder / "bundles" / name
        if not folder.is_dir():
            networks = self.network(shape, with_encoder=with_encoder)
            write_bundle(folder, n, networks, with_thumbnails=with_thumbnails)
        return folder

    def exported(self, n: int, shape: Shape = SHAPES[1]) -> str:
        """The path, on a web server at `folder`, of that bundle as an exported folder."""
        from zatlas.explorer.share import export_folder

        bundle = self.bundle(n, shape)
        out = self.folder / "sites" / bundle.name
        if not out.is_dir():
            export_folder(bundle, out)
        return f"/sites/{bundle.name}/"

    def single(self, n: int) -> Path:
        """That bundle as one file."""
        from zatlas.explorer.share import export_file

        return export_file(self.bundle(n, SHAPES[1]), self.folder / f"{n}.html").path


def paint(site: Site, points: Sequence[int], runs: int) -> dict[str, Any]:
    """First paint by the number of images."""
    single = site.single(points[0])
    with page.host(site.folder) as address, page.browsers() as of:
        contestants = {
            f"folder, {n:,} images": partial(page.first_paint, of("webgl"), address + site.exported(n)) for n in points
        }
        name = f"single file, {points[0]:,} images"
        contestants[name] = partial(page.first_paint, of("webgl"), single.as_uri())
        found = contest.interleaved(contestants, rounds=runs)
    for turn in found[name]:
        turn["transferred_mb"] = single.stat().st_size / 1e6
    keys = ("head_s", "map_s", "picture_s")
    middle = contest.medians(found)
    rows = [
        [label, *(_range(turns, key) for key in keys), f"{middle[label]['transferred_mb']:.1f}"]
        for label, turns in found.items()
    ]
    columns = ["opened", "head [s]", "map with all points [s]", "first decoded picture [s]", "MB"]
    show(f"First paint (medians of {runs}, lowest and highest in brackets)", columns, rows)
    return {"turns": found, "medians": middle}


def frames(site: Site, points: Sequence[int], runs: int) -> dict[str, Any]:
    """Time from frame to frame, of a lasso and of another projection, by the number of images and what draws them."""
    found: Turns = {}
    with page.host(site.folder) as address, page.browsers() as of:
        for n in points:
            with contextlib.ExitStack() as stack:
                views = {
                    f"{n:,}, {kind}": stack.enter_context(page.Opened(of(kind), address + site.exported(n)))
                    for kind in ("webgl", "canvas")
                }
                for name, view in views.items():
                    view.settled()
                    kind = view.page.get_attribute("[data-map]", "data-kind")
                    if not name.endswith(str(kind)):
                        raise SystemExit(f"{name} is drawn by {kind}")
                found |= contest.interleaved({name: partial(_moved, view) for name, view in views.items()}, rounds=runs)
    middle = contest.medians(found)
    rows = [
        [
            *name.replace("webgl", "WebGL in software").replace("canvas", "2-D canvas").rsplit(", ", 1),
            *(_range(found[name], key) for key in ("mean_ms", "p95_ms")), f"{PAN_S * 1000 / numbers['mean_ms']:.0f}",
            *(f"{numbers[key]:.3g}" for key in ("within_ms", "selected_ms", "projected_ms")),
        ]
        for name, numbers in middle.items()
    ]  # fmt: skip
    columns = [
        "images", "drawn by", "frame [ms]", "95th percentile [ms]", f"frames in {PAN_S:.0f} s",
        "points in an outline [ms]", "lasso released until drawn [ms]", "other projection [ms]",
    ]  # fmt: skip
    show(f"While the map is dragged (medians of {runs}, lowest and highest in brackets)", columns, rows)
    return {"turns": found, "medians": middle}


def _moved(view: page.Opened) -> dict[str, float]:
    """What moving the map, a lasso and another projection cost."""
    numbers = page.panned(view, PAN_S)
    projections = [page.projected(view, name) for name in ("tsne", "pca")]
    return {**numbers, **page.lasso(view), "projected_ms": sum(projections) / len(projections)}


def decode(site: Site, runs: int) -> dict[str, Any]:
    """Milliseconds per image against multiply-adds: in the page, by torch and by ONNX Runtime."""
    pools: dict[str, dict[str, list[float]]] = {}
    with page.host(site.folder) as address, page.browsers() as of, contextlib.ExitStack() as stack:
        contestants: dict[str, Callable[[], dict[str, float]]] = {}
        for shape in SHAPES:
            view = stack.enter_context(page.Opened(of("webgl"), address + site.exported(500, shape)))
            view.settled()
            measures: dict[str, Callable[[], list[float]]] = {
                "browser": partial(page.decode, view, -(-SINGLES // runs), 1),
                "batch": partial(page.decode, view, -(-BATCHES // runs), BATCH),
                "torch": partial(_torch_ms, shape.network(), -(-SINGLES // runs)),
                "onnxruntime": partial(_onnx_ms, site.network(shape).decoder.content, -(-SINGLES // runs)),
            }
            pools[str(shape)] = {name: [] for name in measures}
            contestants[str(shape)] = partial(_pooled, measures, pools[str(shape)])
        found = contest.interleaved(contestants, rounds=runs)
    rows, costs = [], []
    for shape in SHAPES:
        made, pool = site.network(shape).decoder, pools[str(shape)]
        middle = {name: float(np.median(times)) for name, times in pool.items()}
        million = made.multiply_adds / 1e6
        costs.append((million, middle["browser"]))
        rows.append([
            str(shape), f"{million:.0f}", made.live, f"{len(made.content) / 1e6:.1f}", f"{middle['browser']:.1f}",
            f"{page.percentile(pool['browser'], 0.95):.1f}", f"{middle['browser'] / million:.3f}",
            *(f"{middle[name]:.1f}" for name in ("batch", "torch", "onnxruntime")),
        ])  # fmt: skip
    columns = [
        "decoder", "million multiply-adds", "used", "ONNX [MB]", "browser [ms]", "95th percentile [ms]",
        "ms per million", f"browser, {BATCH} at once [ms per image]", "torch [ms]", "onnxruntime [ms]",
    ]  # fmt: skip
    show(f"Decoding one image on one thread (medians of {SINGLES})", columns, rows)
    return {"turns": found, "times_ms": pools, **_fitted(costs)}


def _pooled(measures: dict[str, Callable[[], list[float]]], pool: dict[str, list[float]]) -> dict[str, float]:
    """Let each measure take its turn; times are kept in the pool, and their medians returned."""
    found = {}
    for name, measure in measures.items():
        times = measure()
        pool[name] += times
        found[f"{name}_ms"] = float(np.median(times))
    return found


def _torch_ms(network: Any, count: int) -> list[float]:
    import torch

    torch.set_num_threads(1)
    z = torch.randn(count + 1, D)
    with torch.inference_mode():
        return _timed([partial(network.x_hat, z[i : i + 1]) for i in range(count + 1)])


def _onnx_ms(content: bytes, count: int) -> list[float]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    z = np.random.default_rng(0).standard_normal((count + 1, D)).astype(np.float32)
    return _timed([partial(session.run, None, {"z": z[i : i + 1]}) for i in range(count + 1)])


def _timed(calls: Sequence[Callable[[], Any]]) -> list[float]:
    """Milliseconds of each call but the first."""
    times = []
    for call in calls:
        begin = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - begin))
    return times[1:]


def _fitted(costs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """A line through the times in the browser (relative errors), and what it says of the two limits."""
    million, ms = np.array(costs).T
    design = np.stack([np.ones_like(million), million], axis=1) / ms[:, None]
    (constant, slope), *_ = np.linalg.lstsq(design, np.ones_like(ms), rcond=None)
    live, release = (float(constant + slope * limit) for limit in (LIVE, ON_RELEASE))
    slow = [
        name for name, (size, took) in zip(map(str, SHAPES), costs, strict=True) if size <= LIVE and took > LIVE_GOAL_MS
    ]
    print(f"\nFitted: {constant:.1f} ms + {slope:.3f} ms per million multiply-adds.")
    print(f"Live (at most {LIVE} million): {live:.0f} ms, {1000 / live:.0f} pictures per second; "
          f"{verdict(live, LIVE_GOAL_MS)} (goal {LIVE_GOAL_MS:.0f} ms, 30 per second)")  # fmt: skip
    if slow:
        print(f"Slower than {LIVE_GOAL_MS:.0f} ms though within the limit: {', '.join(slow)}")
    print(f"On release (at most {ON_RELEASE} million): {release:.0f} ms")
    return {"constant_ms": constant, "ms_per_million": slope, "live_ms": live, "on_release_ms": release, "slow": slow}


def verdict(value: float, goal: float) -> str:
    """PASS or MISSED."""
    return "PASS" if value <= goal else "MISSED"


def sizes(site: Site) -> dict[str, Any]:
    """Sizes of the page and of exports of the default decoder, with thumbnails, against their goals."""
    from zatlas.explorer.page import page_files
    from zatlas.explorer.share import export_file, export_folder

    found: dict[str, dict[str, Any]] = {}
    packed = {name: len(gzip.compress(path.read_bytes(), 6)) for name, path in page_files().items()}
    found["page and wasm, gzipped"] = {"mb": sum(packed.values()) / 1e6, "goal": PAGE_GOAL_MB, "parts": packed}
    for what, with_encoder in (("decoder and encoder", True), ("decoder alone", False)):
        bundle = site.bundle(IMAGES, SHAPES[1], with_encoder=with_encoder, with_thumbnails=True)
        file = export_file(bundle, site.folder / f"{bundle.name}.html")
        folder = export_folder(bundle, site.folder / "sites" / bundle.name)
        found[f"single file, {what}"] = {"mb": file.bytes_in_all / 1e6, "goal": FILE_GOAL_MB, "parts": file.parts}
        found[f"folder, {what}"] = {"mb": folder.bytes_in_all / 1e6, "goal": None, "parts": folder.parts}
    rows = [
        [name, f"{entry['mb']:.2f}", *(
            ["none", ""] if entry["goal"] is None else [f"{entry['goal']:.0f}", verdict(entry["mb"], entry["goal"])]
        ), ", ".join(f"{part} {size / 1e6:.2f}" for part, size in sorted(entry["parts"].items(), key=lambda p: -p[1]))]
        for name, entry in found.items()
    ]  # fmt: skip
    show(f"Sizes (default decoder {SHAPES[1]}, {D} latent dimensions, {IMAGES} images with thumbnails)",
         ["what", "MB", "goal [MB]", "", "of which [MB]"], rows)  # fmt: skip
    return found


def drag(site: Site, points: Sequence[int], runs: int) -> dict[str, Any]:
    """How a slider dragged for 2 s is followed, by the number of images."""
    with page.host(site.folder) as address, page.browsers() as of, contextlib.ExitStack() as stack:
        contestants: dict[str, Callable[[], dict[str, float]]] = {}
        for n in points:
            view = stack.enter_context(page.Opened(of("webgl"), address + site.exported(n)))
            view.settled()
            contestants[f"{n:,}"] = partial(page.drag, view, DRAG_S)
        found = contest.interleaved(contestants, rounds=runs)
    rows = []
    for name, turns in found.items():
        shown = [{**turn, "per_s": turn["pictures"] / turn["seconds"]} for turn in turns]
        is_newest = all(turn["is_newest_last"] for turn in turns)
        is_in_order = all(turn["is_in_order"] for turn in turns)
        numbers = [_range(shown, key) for key in ("events", "per_s", "longest_gap_ms", "last_after_ms")]
        rows.append([name, *numbers, "yes" if is_newest else "NO", "none" if is_in_order else "SOME"])
    columns = [
        "images", "events", "pictures per second", "longest gap [ms]", "newest shown after the last event [ms]",
        "newest shown last", "older after newer",
    ]  # fmt: skip
    show(
        f"A slider dragged for {DRAG_S:.0f} s at 60 events per second (default decoder, medians of {runs})",
        columns,
        rows,
    )
    return {"turns": found}


def _range(turns: Sequence[dict[str, float]], key: str) -> str:
    """Median, with the lowest and the highest in brackets."""
    values = sorted(turn[key] for turn in turns)
    middle, low, high = (_short(value) for value in (float(np.median(values)), values[0], values[-1]))
    return middle if low == high else f"{middle} ({low} to {high})"


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print one table as Markdown."""
    print(f"\n### {title}\n")
    for line in (columns, ["---"] * len(columns), *rows):
        print(f"| {' | '.join(line)} |")


if __name__ == "__main__":
    main()
