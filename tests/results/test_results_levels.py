"""The rates of z and of each map of local latents, from the history of a training."""

import dataclasses

import pandas as pd
import pytest
from example_results import example_results

from zatlas.report.cards import model_table
from zatlas.report.figures import curves
from zatlas.report.figures.catalogue import catalogue
from zatlas.report.findings.models import reconstructions_between_sizes
from zatlas.report.sections import _with_levels, _words_of_columns
from zatlas.results.comparison import _summary
from zatlas.results.levels import level_rates, levels


@pytest.fixture
def results():
    """One model with two maps, the fine one written before the coarse one; epoch 7 is kept."""
    made = example_results(n_models=1, n_images=30, size=16, points=2)
    model = made.models[0]
    model.n_local, model.kept_epoch = 1536, 7
    model.history["validation_rate_16px_nats"] = 30.0 + model.history["epoch"]
    model.history["validation_rate_8px_nats"] = 2.0
    model.history["validation_rate_nats"] = 100.0 + 2 * model.history["epoch"]
    return made


def test_levels_are_those_of_the_kept_epoch_and_sum_to_the_rate(results):
    found = levels(results.models[0])
    assert [(one.name, one.rate_nats) for one in found] == [("z", 75.0), ("8 × 8", 2.0), ("16 × 16", 37.0)]
    assert level_rates(results.models[0]).columns.tolist() == ["z", "8 × 8", "16 × 16"]


@pytest.mark.parametrize("kept", [None, 0])
def test_where_no_epoch_was_kept_nothing_is_told(results, kept):
    assert levels(dataclasses.replace(results.models[0], kept_epoch=kept)) == []


def test_a_model_without_local_latents_has_no_levels():
    model = example_results(n_models=1, n_images=30, size=16, points=2).models[0]
    model.kept_epoch = 7
    assert levels(model) == []
    assert level_rates(model).columns.empty
    assert len(curves.training_curves(model).axes) == 3


@pytest.mark.parametrize(("is_tiled", "unit"), [(True, "tile"), (False, "image")])
def test_the_report_tells_levels_and_says_of_what_nats_are(results, is_tiled, unit):
    results.data.is_tiled = is_tiled
    recipes = {recipe.id: recipe for recipe in catalogue(results)}
    axes = recipes["z4-training"].draw().axes
    assert [panel.get_title(loc="left") for panel in axes] == [
        f"{name} [nats per {unit}]" for name in ("distortion", "rate", "ELBO", "rate by level")
    ]
    assert [text.get_text() for text in axes[3].get_legend().get_texts()] == ["z", "local, 8 × 8", "local, 16 × 16"]
    assert "{" not in "".join(text.get_text() for text in axes[3].get_yticklabels()), "numbers, not their TeX"
    assert recipes["z4-rates"].draw().axes[0].get_ylabel() == f"rate [nats per {unit}]"
    assert f"about a validation {unit}, z says 75" in recipes["z4-rates"].caption
    assert f"About a validation {unit} z says 75" in reconstructions_between_sizes(results).text
    caption = model_table(results)["caption"]
    assert f"about a validation {unit} z of z4 75.0 and its local latents 2.00 on 8 × 8 cells and 37.0 on" in caption
    compared = pd.DataFrame([_summary(model) for model in results.models])
    table = _words_of_columns(_with_levels(compared, results.models), unit)
    told = dict(table.itertuples(index=False))
    assert told["validation rate of z [nats]"] == "75.00"
    assert told["validation rate of local latents on 16 × 16 cells [nats]"] == "37.00"
    assert told["local latents"] == "1\u202f536"
