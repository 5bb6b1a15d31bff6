"""A map of the latent space as a record; `projections` makes them. Apart, so that results are read without torch.

Whoever shows maps (results, report, explorer) takes those that are there and asks each for its title, axes and words.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

__all__ = ["LEAST_IMAGES", "Projection", "from_stored", "in_order", "is_name", "listed"]

LEAST_IMAGES = 5
"""Fewer images make no map."""

_KNOWN: dict[str, dict[str, Any]] = {
    "pca": {"title": "PCA", "has_inverse": True},
    "tsne": {"title": "t-SNE"},
    "umap": {"title": "UMAP"},
}
"""Maps in files that do not describe them: those of zatlas 0.1.0, and UMAP as scanpy adds it."""

_TAKEN = ("latent", "label", "pair", "clusters", "model", "seed", "fingerprint", "spatial")

_DESCRIBED = "map"
_DEFAULTS = {"has_inverse": False, "note": ""}


@dataclass(frozen=True)
class Projection:
    """A map of the latent space.

    Attributes:
        name: Letters, digits and underscores: the key in an atlas, and in the names of files and columns.
        title: As people read it.
        points: Positions of the images, (n, k); the first two axes are drawn.
        facts: How the map was made and how far it can be trusted, what JSON can hold. Those that are told to readers:
            `method` and `initialisation` (words), `settings` (numbers by name), `trustworthiness` and `continuity` (0
            to 1, over `n_neighbours`), `explained_ratio` (share of the variance on each axis).
        has_inverse: Whether each place on the map belongs to one latent (with all that the map leaves out at its mean).
        note: One sentence on what the map keeps; "" says what holds for t-SNE and its kin: neighbours, not distances.
    """

    name: str
    title: str
    points: np.ndarray  # what others give may be of any shape; `Atlas.add` checks it
    facts: dict[str, Any] = field(default_factory=dict)
    has_inverse: bool = False
    note: str = ""

    @property
    def stem(self) -> str:
        """What stands before the number in the name of an axis or column: "pc", else the name of the map."""
        return "pc" if self.name == "pca" else self.name

    @property
    def columns(self) -> tuple[str, str]:
        """Names of the columns that hold the first two axes: `pc1`, `pc2`."""
        return f"{self.stem}1", f"{self.stem}2"

    @property
    def settings(self) -> dict[str, float | int]:
        """Numbers that decide how the map looks, by their names."""
        named = {"perplexity": self.facts["perplexity"]} if "perplexity" in self.facts else {}
        return {**named, **self.facts.get("settings", {})}

    @property
    def trustworthiness(self) -> float:
        """Whether neighbours on the map are neighbours in latent space, 0 to 1; NaN when it was not measured."""
        value = self.facts.get("trustworthiness")
        return float("nan") if value is None else float(value)

    @property
    def path_note(self) -> str:
        """What a reader must know about a path along an axis of the map, "" when nothing."""
        if self.has_inverse:
            return ""
        return (
            f"{self.title} has no inverse: the ends are the two images extreme on the {self.title} axis, the path "
            "between them runs in latent space"
        )

    @property
    def reading(self) -> str:
        """How the map must be read, one sentence."""
        return self.note or (
            f"{self.title} keeps neighbours, not distances: gaps between its islands and their sizes mean nothing."
        )

    def axis_name(self, number: int) -> str:
        """An axis as it is shown, from 1: "PC1", "t-SNE 1"."""
        return f"PC{number}" if self.name == "pca" else f"{self.title} {number}"

    def axis_label(self, number: int) -> str:
        """The same beside the axis of a figure: "PC 1"."""
        return f"PC {number}" if self.name == "pca" else self.axis_name(number)

    def caption(self, written: Callable[[float], str] = "{:g}".format) -> str:
        """What the map is, for the caption of a figure.

        Args:
            written: Writes a number.
        """
        if self.name == "pca":
            return "the first two principal components"
        made = [f"{name} {written(value)}" for name, value in self.settings.items() if value]
        if str(self.facts.get("initialisation", "")).startswith("first two principal components"):
            made.append("started from PCA")
        known = f"{self.title} ({', '.join(made)})" if made else self.title
        if self.note or self.has_inverse:
            return known
        return f"{known}, whose axes have no unit and whose distances between groups mean nothing"

    def kept_in_words(self, shares: Sequence[str]) -> str:
        """What the map keeps, with the numbers that say how much.

        Args:
            shares: Each in words: "trustworthiness 0.97".
        """
        if self.note:
            return " ".join([self.note, *([f"{self.title}: {', '.join(shares)}."] if shares else [])])
        return f"{self.title} keeps neighbourhoods, not distances{': ' if shares else ''}{', '.join(shares)}."

    def stored(self) -> dict[str, Any]:
        """The facts, and the description where the name alone does not tell it: the reverse of `from_stored`."""
        own = {"title": self.title, "has_inverse": self.has_inverse, "note": self.note}
        usual = {"title": self.name, **_DEFAULTS, **_KNOWN.get(self.name, {})}
        unusual = {key: value for key, value in own.items() if value != usual[key]}
        return {**self.facts, **({_DESCRIBED: unusual} if unusual else {})}


def from_stored(name: str, points: Float[np.ndarray, "n k"], stored: Any = None) -> Projection:
    """A map from its points and what `stored` gave; of another tool's map the name is all that is known."""
    facts = {str(key): value for key, value in stored.items()} if isinstance(stored, Mapping) else {}
    own = facts.pop(_DESCRIBED, None)
    about = {"title": name, **_DEFAULTS, **_KNOWN.get(name, {}), **(own if isinstance(own, Mapping) else {})}
    return Projection(
        name, str(about["title"]), points, facts, has_inverse=bool(about["has_inverse"]), note=str(about["note"])
    )


def is_name(name: str) -> bool:
    """Whether a map can have this name: part of the names of files and columns, and unlike what else an atlas holds."""
    is_plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,40}", name) is not None
    is_axis = re.fullmatch(r"(z|pc)[0-9_]*", name.lower()) is not None
    return is_plain and not is_axis and name not in _TAKEN


def in_order(names: Iterable[str]) -> list[str]:
    """Names of maps, each once, in the order in which they are shown: PCA, t-SNE, UMAP, others by name."""
    known = list(_KNOWN)
    return sorted(set(names), key=lambda name: (known.index(name) if name in known else len(known), name))


def listed(titles: Sequence[str]) -> str:
    """`PCA`, `PCA and t-SNE`, `PCA, t-SNE and UMAP`."""
    return " and ".join([part for part in (", ".join(titles[:-1]), *titles[-1:]) if part])
