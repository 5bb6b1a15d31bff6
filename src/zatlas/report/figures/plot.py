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
from zatlas.report.figures.style import theme, themed

__all__ = [
    "best_epoch",
    "cluster_match",
    "cluster_match_numbers",
    "contact_sheet",
    "contact_sheet_numbers",
    "example_tiles",
    "example_tiles_numbers",
    "extremes",
    "extremes_numbers",
    "galleries",
    "galleries_numbers",
    "grey_histograms",
    "grey_histograms_numbers",
    "group_sizes",
    "group_sizes_numbers",
    "image_sizes",
    "image_sizes_numbers",
    "label_maps",
    "label_maps_numbers",
    "maps",
    "maps_numbers",
    "models_side_by_side",
    "models_side_by_side_numbers",
    "neighbour_overlap",
    "neighbour_overlap_numbers",
    "neighbours",
    "neighbours_numbers",
    "prior_samples",
    "prior_samples_numbers",
    "probes",
    "probes_numbers",
    "rates",
    "rates_numbers",
    "reconstructions",
    "reconstructions_by_size",
    "reconstructions_by_size_numbers",
    "reconstructions_numbers",
    "samples",
    "samples_numbers",
    "scatter",
    "split",
    "split_numbers",
    "theme",
    "training_curves",
    "training_curves_numbers",
    "traversals",
    "traversals_numbers",
    "walk",
    "walk_numbers",
]

contact_sheet = themed(collection.contact_sheet)
contact_sheet_numbers = collection.contact_sheet_numbers
example_tiles = themed(collection.example_tiles)
example_tiles_numbers = collection.example_tiles_numbers
extremes = themed(collection.extremes)
extremes_numbers = collection.extremes_numbers
grey_histograms = themed(collection.grey_histograms)
grey_histograms_numbers = collection.grey_histograms_numbers
group_sizes = themed(collection.group_sizes)
group_sizes_numbers = collection.group_sizes_numbers
image_sizes = themed(collection.image_sizes)
image_sizes_numbers = collection.image_sizes_numbers
split = themed(collection.split)
split_numbers = collection.split_numbers

best_epoch = curves.best_epoch
models_side_by_side = themed(curves.models_side_by_side)
models_side_by_side_numbers = curves.models_side_by_side_numbers
probes = themed(curves.probes)
probes_numbers = curves.probes_numbers
rates = themed(curves.rates)
rates_numbers = curves.rates_numbers
training_curves = themed(curves.training_curves)
training_curves_numbers = curves.training_curves_numbers

galleries = themed(pictures.galleries)
galleries_numbers = pictures.galleries_numbers
neighbours = themed(pictures.neighbours)
neighbours_numbers = pictures.neighbours_numbers
prior_samples = themed(pictures.prior_samples)
prior_samples_numbers = pictures.prior_samples_numbers
reconstructions = themed(pictures.reconstructions)
reconstructions_by_size = themed(pictures.reconstructions_by_size)
reconstructions_by_size_numbers = pictures.reconstructions_by_size_numbers
reconstructions_numbers = pictures.reconstructions_numbers
samples = themed(pictures.samples)
samples_numbers = pictures.samples_numbers
traversals = themed(pictures.traversals)
traversals_numbers = pictures.traversals_numbers
walk = themed(pictures.walk)
walk_numbers = pictures.walk_numbers

cluster_match = themed(latent_maps.cluster_match)
cluster_match_numbers = latent_maps.cluster_match_numbers
label_maps = themed(latent_maps.label_maps)
label_maps_numbers = latent_maps.label_maps_numbers
maps = themed(latent_maps.maps)
maps_numbers = latent_maps.maps_numbers
neighbour_overlap = themed(latent_maps.neighbour_overlap)
neighbour_overlap_numbers = latent_maps.neighbour_overlap_numbers
scatter = themed(latent_maps.scatter)
