"""What the report says about the encoder follows the measured gap."""

import dataclasses

import pytest
from example_results import example_results

from zatlas.report.findings.encoder import amortisation
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
