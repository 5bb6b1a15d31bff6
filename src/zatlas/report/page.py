"""The report: one HTML file that needs nothing else, on any screen, on paper, light or dark.

Text comes from `sections`, pictures from `catalogue`; this module draws each figure for both themes, packs them as
WebP into data URIs within the size limit, fills the template (autoescape on) and writes the file whole. The page may
load nothing: its content security policy allows only its own inline style, one hashed script and data images.
"""

import base64
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from zatlas.files import write_text
from zatlas.report.figures.catalogue import Recipe, catalogue
from zatlas.report.figures.style import DPI
from zatlas.report.figures.writing import Manifest, draw, few_collections
from zatlas.report.sections import FigureSlot, build_sections, headline
from zatlas.results.kinds import StudyResults

__all__ = ["LIMIT_BYTES", "report"]

LIMIT_BYTES = 18_500_000  # what the pictures may take, in base64; the promise is 20 MB for the whole page
_PHONE_PX = 560  # figures wider than this scroll sideways on a phone

_SCRIPT = (
    '"use strict";(()=>{const root=document.documentElement,buttons=document.querySelectorAll(".theme");'
    'const dark=matchMedia("(prefers-color-scheme: dark)");'
    'const shown=()=>root.dataset.theme||(dark.matches?"dark":"light");'
    'const say=()=>{for(const b of buttons)b.textContent=shown()==="dark"?"Light page":"Dark page"};'
    "for(const b of buttons){b.hidden=false;"
    'b.addEventListener("click",()=>{root.dataset.theme=shown()==="dark"?"light":"dark";say()})}'
    'dark.addEventListener("change",say);say()})();'
)


@dataclass(frozen=True)
class _Quality:
    """How pictures are packed: WebP quality and size of photographs, and whether they get a dark version."""

    quality: int
    scale: float
    has_dark_images: bool


_STEPS = (
    _Quality(84, 1.0, True),
    _Quality(72, 1.0, True),
    _Quality(78, 1.0, False),
    _Quality(60, 0.85, False),
    _Quality(45, 0.7, False),
    _Quality(30, 0.5, False),
)


@dataclass
class _Picture:
    """One figure packed for each theme; only packed pictures are kept, a hundred open ones would fill the memory."""

    recipe: Recipe
    size_px: tuple[int, int]
    packed: dict[tuple[str, _Quality], bytes]

    @classmethod
    def of(cls, recipe: Recipe, light: Image.Image, dark: Image.Image) -> "_Picture":
        first = _STEPS[0]
        packed = {(name, first): _pack(image, recipe, first) for name, image in (("light", light), ("dark", dark))}
        return cls(recipe, light.size, packed)

    def pack(self, which: str, quality: _Quality) -> bytes:
        """WebP bytes in a quality; charts have only one."""
        key = (which, quality if self.recipe.is_photograph else _STEPS[0])
        if key not in self.packed:
            image = Image.open(io.BytesIO(self.packed[which, _STEPS[0]])).convert("RGB")
            self.packed[key] = _pack(image, self.recipe, quality)
        return self.packed[key]

    @property
    def size_css(self) -> tuple[int, int]:
        """Width and height on the page at 96 px per inch."""
        return round(self.size_px[0] * 96 / DPI), round(self.size_px[1] * 96 / DPI)


def _pack(image: Image.Image, recipe: Recipe, quality: _Quality) -> bytes:
    """WebP bytes: charts without loss, photographs with the given quality and scale.

    Method 1 at 30 packs charts as small as method 3 at 60 in half of the time (2026-11-21).
    """
    stream = io.BytesIO()
    if recipe.is_photograph:
        size = (round(image.width * quality.scale), round(image.height * quality.scale))
        shrunk = image if quality.scale == 1 else image.resize(size, Image.Resampling.LANCZOS)
        shrunk.save(stream, "WEBP", quality=quality.quality, method=2)
    else:
        image.save(stream, "WEBP", lossless=True, quality=30, method=1)
    return stream.getvalue()


def report(
    results: StudyResults,
    manifest: Manifest | Path,
    out: Path,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the report of a study.

    Args:
        results: All numbers and example images of the study.
        manifest: What `write_figures` returned, or its folder; pictures found there are used, and captions link to
            its files by relative paths. Pictures that are missing are drawn.
        out: The HTML file.
        on_progress: Called with (figures done, figures in all).

    Returns:
        `out`.

    Raises:
        WriteError: the file cannot be written; what stood there is untouched.
    """
    figures = manifest.folder if isinstance(manifest, Manifest) else Path(manifest)
    recipes = catalogue(results)
    pictures = {}
    with few_collections():
        for done, recipe in enumerate(recipes):
            pictures[recipe.id] = _draw_both(recipe, figures)
            if on_progress is not None:
                on_progress(done + 1, len(recipes))
    quality = _choose_quality(list(pictures.values()))
    place = _relative(figures, out.parent)
    sections = build_sections(results, recipes)
    number = 0
    for section in sections:
        for i, block in enumerate(section.blocks):
            if isinstance(block, FigureSlot):
                number += 1
                section.blocks[i] = _figure_block(pictures[block.id], quality, place, number)
    write_text(out, _render(results, sections))
    return out


def _draw_both(recipe: Recipe, figures: Path) -> _Picture:
    ready = figures / f"{recipe.id}.png"
    light = Image.open(ready).convert("RGB") if ready.is_file() else draw(recipe, "light")
    return _Picture.of(recipe, light, draw(recipe, "dark"))


def _choose_quality(pictures: list[_Picture]) -> _Quality:
    """The best packing that keeps the page under its limit."""
    for quality in _STEPS:
        total = 0
        for picture in pictures:
            total += len(picture.pack("light", quality))
            if quality.has_dark_images or not picture.recipe.is_photograph:
                total += len(picture.pack("dark", quality))
        if total * 4 / 3 <= LIMIT_BYTES:
            return quality
    return _STEPS[-1]


def _figure_block(picture: _Picture, quality: _Quality, place: str, number: int) -> dict[str, Any]:
    recipe = picture.recipe
    width, height = picture.size_css
    has_dark = quality.has_dark_images or not recipe.is_photograph
    return {
        "kind": "figure",
        "id": recipe.id,
        "number": number,
        "title": recipe.title if recipe.title.endswith("?") else f"{recipe.title}.",
        "caption": recipe.caption,
        "alt": recipe.alt,
        "width": width,
        "height": height,
        "is_wide": width > _PHONE_PX,
        "light": _data_uri(picture.pack("light", quality)),
        "dark": _data_uri(picture.pack("dark", quality)) if has_dark else "",
        "files": {kind: f"{place}/{recipe.id}.{kind.lower()}" for kind in ("PNG", "SVG", "CSV")},
    }


def _data_uri(data: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(data).decode('ascii')}"


def _relative(figures: Path, folder: Path) -> str:
    """The figures' folder as seen from the report; its name alone when it lies elsewhere."""
    try:
        return figures.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        return figures.name


def _render(results: StudyResults, sections: list[Any]) -> str:
    folder = resources.files("zatlas.report") / "templates"
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string((folder / "report.html.j2").read_text(encoding="utf-8"))
    css = (folder / "report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode("ascii")
    title, subtitle = headline(results)
    return template.render(
        title=title,
        subtitle=subtitle,
        sections=sections,
        css=_inert(css),
        script=_inert(_SCRIPT),
        script_hash=f"sha256-{digest}",
        version=metadata.version("zatlas"),
    )


def _inert(ours: str) -> Any:
    """Our own style and script, which are not escaped; nothing of the data ever comes here."""
    from markupsafe import Markup

    return Markup(ours)
