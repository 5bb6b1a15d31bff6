"""The picture of the rooms, with what one image is in each: `python docs/rooms.py` writes docs/_static/rooms.svg.

The order comes from the table in docs/explanation/architecture.md, what stands in a room from src/zatlas.
"""

import re
import sys
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
import shape  # noqa: E402

GROUND = ("errors", "config", "randomness", "compute", "files", "progress")
IMAGE = {  # what one image is in each room, from the file up
    "images": "pixels in a file",
    "tiles": "a tile on the grey scale",
    "model": "a posterior, and what is decoded",
    "training": "a term of the loss",
    "atlas": "a latent: one row",
    "trust": "an error, a rank, a distance",
    "vae": "arrays in, arrays out",
    "results": "a row, perhaps an example",
    "report": "a point, a picture, a sentence",
    "studies": "one of a split",
    "explorer": "what a slider starts from",
    "cli": "a line on the screen",
}
INK, MUTED, WALL, FLOOR = "#1d2733", "#5a6875", "#c9d2da", "#eef2f5"


def rooms() -> list[tuple[str, str]]:
    """Name and words of each room, from the ground up."""
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("| room |")[2].partition("\n\n")[0]
    return [(m[1].strip("/").removesuffix(".py"), m[2]) for m in re.finditer(r"^\| `([^`]+)` \| (.*) \|$", table, re.M)]


def shelves(room: str) -> list[str]:
    """What stands in a room: its modules and folders, in no order."""
    names = {name.split(".")[1] for name in shape.modules() if name.startswith(f"{room}.")}
    folders = {name.split(".")[1] for name in shape.modules() if name.startswith(f"{room}.") and name.count(".") > 1}
    return sorted(f"{name}/" if name in folders else name for name in names)


def picture() -> Figure:
    """Floors of a house: the ground floor side by side, every other room across the whole width."""
    above = [room for room in rooms() if room[0] not in GROUND]
    figure = Figure(figsize=(9.0, 0.5 * (len(above) + 1.4)))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_xlim(0, 100)
    ax.set_ylim(-1.3, len(above) + 0.1)
    ax.axis("off")
    for i, name in enumerate(GROUND):
        _box(ax, 1 + i * 16.4, -1.18, 15.8, 0.9)
        ax.text(2 + i * 16.4, -0.73, name, color=INK, fontsize=9.5, weight="bold", va="center")
    for floor, (name, _) in enumerate(above):
        _box(ax, 1, floor + 0.03, 97.8, 0.9)
        ax.text(2, floor + 0.48, name, color=INK, fontsize=9.5, weight="bold", va="center")
        ax.text(18, floor + 0.48, _wrapped(shelves(name)), color=INK, fontsize=8.2, va="center", linespacing=1.25)
        ax.text(97, floor + 0.48, IMAGE[name], color=MUTED, fontsize=8.2, va="center", ha="right", style="italic")
    return figure


def _box(ax, x: float, y: float, width: float, height: float) -> None:  # type: ignore[no-untyped-def]
    ax.add_patch(matplotlib.patches.Rectangle((x, y), width, height, facecolor=FLOOR, edgecolor=WALL, linewidth=0.9))


def _wrapped(names: list[str], width: int = 62) -> str:
    rows = [""]
    for name in names:
        if len(rows[-1]) + len(name) > width:
            rows.append("")
        rows[-1] += f"{name} · "
    return "\n".join(row.rstrip(" ·") for row in rows)


if __name__ == "__main__":
    matplotlib.rcParams["svg.hashsalt"] = "rooms"
    matplotlib.rcParams["svg.fonttype"] = "none"
    matplotlib.rcParams["font.family"] = "sans-serif"
    picture().savefig(ROOT / "docs" / "_static" / "rooms.svg", metadata={"Date": None}, facecolor="white")
