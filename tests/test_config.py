"""Configuration: ranges, TOML round trip, differences."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zatlas.config import (
    AtlasConfig,
    ModelConfig,
    SplitConfig,
    StudyConfig,
    TilesConfig,
    TrainConfig,
    difference,
    from_toml,
    to_toml,
)
from zatlas.errors import DataError, UsageError


@given(
    epochs=st.integers(1, 10_000),
    rate=st.floats(1e-8, 0.5),
    groups=st.lists(st.text(min_size=1, max_size=8).filter(lambda s: s.isprintable()), max_size=3),
    latents=st.lists(st.integers(1, 4096), min_size=1, max_size=4, unique=True),
)
def test_toml_round_trip(tmp_path_factory, epochs, rate, groups, latents):
    config = StudyConfig(
        train=TrainConfig(epochs=epochs, learning_rate=rate),
        split=SplitConfig(test_group=tuple(groups)),
        model=ModelConfig(latent_dim=tuple(latents)),
    )
    path = tmp_path_factory.mktemp("config") / "study.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    assert from_toml(path) == config


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TrainConfig(epochs=0), "--epochs is 0, expected 1 or more"),
        (lambda: ModelConfig(latent_dim=(4, 4)), "--latent-dim"),
        (lambda: ModelConfig(likelihood="poisson"), "expected bernoulli or gaussian"),
        (lambda: TilesConfig(sampler="by_pixel"), "a tile size, which --sampler by_pixel needs"),
        (lambda: AtlasConfig(clusters=1), "--clusters is 1"),
        (
            lambda: StudyConfig(tiles=TilesConfig(scaling="standardise"), model=ModelConfig(likelihood="bernoulli")),
            "grey values from 0 to 1",
        ),
    ],
)
def test_bad_values_name_the_flag(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_every_option_has_help():
    for section in dataclasses.fields(StudyConfig):
        kind = section.default_factory if section.default is dataclasses.MISSING else type(section.default)
        for field in dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else (section,):
            assert field.metadata["help"], field.name


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("epochs =", DataError, "not valid TOML"),
        ("[train]\nepoch = 3", UsageError, "unknown option 'epoch'"),
        ("[train]\nepochs = '3'", DataError, "epochs is '3', expected int"),
        ("[model]\nlatent_dim = 4", DataError, "latent_dim is 4, expected a list"),
    ],
)
def test_bad_toml_is_refused_in_words(tmp_path, text, kind, message):
    path = tmp_path / "study.toml"
    path.write_text(text)
    with pytest.raises(kind, match=message):
        from_toml(path)


def test_difference_names_each_option():
    old, new = StudyConfig(), StudyConfig(seed=3, train=TrainConfig(epochs=5))
    assert difference(old, new) == ["seed: 0 -> 3", "train.epochs: 100 -> 5"]
