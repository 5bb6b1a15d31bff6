"""What the report says about the encoder follows the measured gap, and how far shifts move latents."""

import dataclasses

import pytest
from example_results import example_results

from zatlas.report.findings.encoder import amortisation, invariance
from zatlas.report.invariance import invariance_blocks
from zatlas.results.kinds import ModelResults


def with_gap(results, **changes):
    models = [dataclasses.replace(model, amortisation={**model.amortisation, **changes}) for model in results.models]
    return dataclasses.replace(results, models=models)


@pytest.mark.parametrize(
    ("db", "low", "verdict"),
    [(0.5, 0.3, "is behind its decoder"), (0.5, -0.1, "about as good"), (0.05, 0.04, "about as good"),
     (0.5, float("nan"), "is behind its decoder")],
)  # fmt: skip
def test_the_verdict_follows_gain_and_chance(db, low, verdict):
    found = amortisation(with_gap(example_results(n_models=1), db=db, db_low=low))
    assert verdict in found.text
    assert found.numbers["z4"]["db"] == db
    assert ("more epochs are the cure" in found.text) == ("behind" in verdict)


def test_the_sentence_says_what_was_refined_and_over_what_its_interval_is():
    text = amortisation(example_results(n_models=2)).text
    assert "The latents of 24 test images were refined by 20 gradient steps" in text
    assert "z4 gains" not in text
    assert "95 % intervals over 3 groups" in text
    assert text.count(" nats ") == 2
    alone = amortisation(with_gap(example_results(n_models=1), nats_low=float("nan"), nats_high=float("nan"))).text
    assert "95 %" not in alone


def test_results_without_the_measure_have_no_finding(tmp_path):
    results = example_results(n_models=1)
    model = results.models[0]
    assert amortisation(dataclasses.replace(results, models=[dataclasses.replace(model, amortisation={})])) is None
    model.save(tmp_path / "z4")
    assert ModelResults.load(tmp_path / "z4").amortisation == model.amortisation


def with_shares(results, px, **changes):
    models = []
    for model in results.models:
        shifts = [shift | (changes if shift["px"] == px else {}) for shift in model.invariance["shifts"]]
        models.append(dataclasses.replace(model, invariance={**model.invariance, "shifts": shifts}))
    return dataclasses.replace(results, models=models)


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.61, "largely where things lie"), (0.32, "more about what a tile shows")]
)
def test_what_latents_say_follows_the_shift_by_an_eighth(share, verdict):
    found = invariance(with_shares(example_results(n_models=1), 4, latents=share))
    assert verdict in found.text
    assert f"z4 {share:.3f} [" in found.text
    other = invariance(with_shares(example_results(n_models=1), 8, latents=share))
    assert "more about what" in other.text


def test_the_sentence_on_shifts_says_what_was_cut_and_compared():
    text = invariance(example_results(n_models=2)).text
    assert text.startswith("From the same images 24 test tiles were cut again 4 px further")
    assert "principal components, each of variance 1: z4 0.160 [0.120, 0.200]; z16 0.160" in text
    assert "which know no places: 0.0320" in text
    assert "over 3 groups" in text
    alone = invariance(with_shares(example_results(n_models=1), 4, latents_low=float("nan"), latents_high=float("nan")))
    assert "95 %" not in alone.text


def test_the_table_of_shifts_has_a_row_for_each_model_and_distance():
    (block,) = invariance_blocks(example_results(n_models=2))
    assert [row[:2] for row in block["rows"]] == [[name, px] for name in ("z4", "z16") for px in ("2", "4", "8")]
    assert block["rows"][1][2:] == ["0.320", "0.160", "0.032"]
    assert "24 tiles of 32 px" in block["caption"]


def test_results_without_shifts_say_nothing_of_them(tmp_path):
    results = example_results(n_models=1)
    model = results.models[0]
    without = dataclasses.replace(results, models=[dataclasses.replace(model, invariance={})])
    assert invariance(without) is None
    assert invariance_blocks(without) == []
    model.save(tmp_path / "z4")
    assert ModelResults.load(tmp_path / "z4").invariance == model.invariance
