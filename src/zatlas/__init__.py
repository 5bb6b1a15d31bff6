"""zatlas: from a collection of biomedical images to a latent atlas that a person can see, steer and trust.

    >>> import zatlas as za
    >>> "open_images" in dir(za)
    True

Names are loaded when first used, so that `import zatlas` and `zatlas --help` stay quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zatlas.atlas.atlas import Atlas as Atlas
    from zatlas.atlas.projection import Projection as Projection
    from zatlas.config import StudyConfig as StudyConfig
    from zatlas.errors import ZatlasError as ZatlasError
    from zatlas.explorer.notebook.widget import explore as explore
    from zatlas.images.collection import Collection as Collection
    from zatlas.images.readers.opening import open_images as open_images
    from zatlas.images.statistics import statistics as statistics
    from zatlas.report.figures import plot as plot
    from zatlas.studies.run import study as study
    from zatlas.studies.study import Study as Study
    from zatlas.tiles.loader import Tiles as Tiles
    from zatlas.tiles.transforms import Scaling as Scaling
    from zatlas.vae import VAE as VAE
    from zatlas.vae import load as load

__version__ = "0.2.0.dev0"

_HOME = {
    "Atlas": "zatlas.atlas.atlas",
    "Collection": "zatlas.images.collection",
    "Projection": "zatlas.atlas.projection",
    "Scaling": "zatlas.tiles.transforms",
    "Study": "zatlas.studies.study",
    "StudyConfig": "zatlas.config",
    "Tiles": "zatlas.tiles.loader",
    "VAE": "zatlas.vae",
    "ZatlasError": "zatlas.errors",
    "explore": "zatlas.explorer.notebook.widget",
    "load": "zatlas.vae",
    "open_images": "zatlas.images.readers.opening",
    "phantom": "zatlas.images.phantom",
    "plot": "zatlas.report.figures.plot",
    "statistics": "zatlas.images.statistics",
    "study": "zatlas.studies.run",
}
_MODULES = {"phantom", "plot"}

__all__ = [*sorted(_HOME), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'zatlas' has no attribute {name!r}")
    module = importlib.import_module(_HOME[name])
    value = module if name in _MODULES else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
