"""The cards and the table at the top of the report."""

import pytest
from example_results import example_results
from test_report_findings import with_gains

from zatlas.report.cards import keys, model_table
from zatlas.report.figures.catalogue import catalogue
from zatlas.report.sections import build_sections


@pytest.fixture
def results():
    return example_results(n_models=2, n_images=40, size=16, points=3)


def card(results, name):
    return next(key for key in keys(results) if key["name"] == name)


@pytest.mark.parametrize(("verdict", "name"), [("clusters", "Clusters"), ("continuum", "Regions"), ("", "Regions")])
def test_the_card_of_clusters_does_not_repeat_their_name(results, verdict, name):
    for model in results.models:
        model.cluster_info["verdict"] = verdict
    found = card(results, name)
    assert found["value"] == "3" and name.lower() not in found["more"] and len(found["more"]) > 8


def test_the_card_says_that_the_start_was_kept(results):
    assert card(results, "PSNR on test images")["more"] == "the best model, z16"
    results.models[1].kept_epoch = 12
    assert card(results, "PSNR on test images")["more"] == "the best model, z16"
    results.models[1].kept_epoch = 0
    assert (
        "as training began: no epoch was better on validation than PCA" in card(results, "PSNR on test images")["more"]
    )


@pytest.mark.parametrize("n_empty", [0, 5])
def test_gains_of_images_with_content_stand_only_where_some_are_empty(results, n_empty):
    gained = {"": (0.5, 0.4, 0.6), "content_": (0.7, 0.6, 0.8), "pooled_": (0.4, 0.3, 0.5)}
    for model in results.models:
        with_gains(model, gained, n_empty=n_empty)
    table = model_table(results)
    assert ("with content [dB]" in table["header"]) == (n_empty > 0)
    assert ("nearly empty" in table["caption"]) == (n_empty > 0)
    assert "pooled [dB]" in table["header"]
    for model, (_, row) in zip(results.models, results.comparison.table.iterrows(), strict=True):
        for name, value in model.metrics.loc["test"].items():
            results.comparison.table.loc[row.name, f"test_{name}"] = value
    blocks = next(section.blocks for section in build_sections(results, catalogue(results)) if section.id == "models")
    tables = {block.get("title"): block for block in blocks if isinstance(block, dict)}
    names = [row[0] for row in tables["All numbers of the models"]["rows"]]
    assert ("gain over PCA, with content [dB]" in names) == (n_empty > 0)
    assert "gain over PCA, pooled error, lower end [dB]" in names and "test images that are nearly empty" in names
    assert not [name for name in names if "gain low" in name or "n empty" in name]
