"""Figures for notebooks and papers: every figure of the report as a function of results.

    figure = za.plot.scatter(atlas, color="cluster")
    results = za.Study("xray-study").results()
    figure = za.plot.training_curves(results.models[0])
    table = za.plot.training_curves_numbers(results.models[0])

Each function returns a matplotlib `Figure` and draws nothing on a screen by itself; a notebook shows it. The function
of the same name with `_numbers` gives the numbers behind the figure as a table. `theme("dark")` around a call gives
light ink on a dark ground.
"""

from zatlas.report.figures import collection, curves, latent_maps, pictures
from zatlas.report.figures.collection import *
from zatlas.report.figures.curves import *
from zatlas.report.figures.latent_maps import *
from zatlas.report.figures.pictures import *
from zatlas.report.figures.style import theme

__all__ = ["theme"]
__all__ += collection.__all__
__all__ += curves.__all__
__all__ += latent_maps.__all__
__all__ += pictures.__all__
