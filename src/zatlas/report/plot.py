"""Figures for notebooks and papers: every figure of the report as a function of results.

    figure = za.plot.scatter(atlas, "tsne", color="cluster")
    results = za.Study("xray-study").results()
    figure = za.plot.training_curves(results.models[0])
    table = za.plot.training_curves_numbers(results.models[0])

Each function returns a matplotlib `Figure` and draws nothing on a screen by itself; a notebook shows it. The function
of the same name with `_numbers` gives the numbers behind the figure as a table. `theme("dark")` around a call gives
light ink on a dark ground.
"""

from zatlas.report import plot_curves, plot_data, plot_images, plot_maps
from zatlas.report.plot_style import theme, themed

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

contact_sheet = themed(plot_data.contact_sheet)
contact_sheet_numbers = plot_data.contact_sheet_numbers
example_tiles = themed(plot_data.example_tiles)
example_tiles_numbers = plot_data.example_tiles_numbers
extremes = themed(plot_data.extremes)
extremes_numbers = plot_data.extremes_numbers
grey_histograms = themed(plot_data.grey_histograms)
grey_histograms_numbers = plot_data.grey_histograms_numbers
group_sizes = themed(plot_data.group_sizes)
group_sizes_numbers = plot_data.group_sizes_numbers
image_sizes = themed(plot_data.image_sizes)
image_sizes_numbers = plot_data.image_sizes_numbers
split = themed(plot_data.split)
split_numbers = plot_data.split_numbers

best_epoch = plot_curves.best_epoch
models_side_by_side = themed(plot_curves.models_side_by_side)
models_side_by_side_numbers = plot_curves.models_side_by_side_numbers
probes = themed(plot_curves.probes)
probes_numbers = plot_curves.probes_numbers
rates = themed(plot_curves.rates)
rates_numbers = plot_curves.rates_numbers
training_curves = themed(plot_curves.training_curves)
training_curves_numbers = plot_curves.training_curves_numbers

galleries = themed(plot_images.galleries)
galleries_numbers = plot_images.galleries_numbers
neighbours = themed(plot_images.neighbours)
neighbours_numbers = plot_images.neighbours_numbers
prior_samples = themed(plot_images.prior_samples)
prior_samples_numbers = plot_images.prior_samples_numbers
reconstructions = themed(plot_images.reconstructions)
reconstructions_by_size = themed(plot_images.reconstructions_by_size)
reconstructions_by_size_numbers = plot_images.reconstructions_by_size_numbers
reconstructions_numbers = plot_images.reconstructions_numbers
samples = themed(plot_images.samples)
samples_numbers = plot_images.samples_numbers
traversals = themed(plot_images.traversals)
traversals_numbers = plot_images.traversals_numbers
walk = themed(plot_images.walk)
walk_numbers = plot_images.walk_numbers

cluster_match = themed(plot_maps.cluster_match)
cluster_match_numbers = plot_maps.cluster_match_numbers
label_maps = themed(plot_maps.label_maps)
label_maps_numbers = plot_maps.label_maps_numbers
maps = themed(plot_maps.maps)
maps_numbers = plot_maps.maps_numbers
neighbour_overlap = themed(plot_maps.neighbour_overlap)
neighbour_overlap_numbers = plot_maps.neighbour_overlap_numbers
scatter = themed(plot_maps.scatter)
