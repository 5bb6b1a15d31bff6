"""Configuration: ranges, TOML round trip, differences."""

import dataclasses
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from zatlas.config import (
    AtlasConfig,
    ModelConfig,
    NamedModel,
    SplitConfig,
    StudyConfig,
    TilesConfig,
    TrainConfig,
    difference,
    from_dict,
    from_toml,
    to_dict,
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


NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,22}[A-Za-z0-9_-])?", fullmatch=True)
OWN = st.fixed_dictionaries(
    {},
    optional={
        "latent_dim": st.integers(1, 4096),
        "widths": st.lists(st.integers(1, 4096), min_size=1, max_size=8),
        "blocks": st.integers(0, 8),
        "norm": st.sampled_from(["none", "group"]),
        "decoder": st.sampled_from(["upsample", "transposed"]),
        "likelihood": st.sampled_from(["gaussian", "bernoulli"]),
        "beta": st.one_of(st.integers(0, 9), st.floats(0, 1e6)),
        "seed": st.integers(0, 2**63 - 1),
    },
)


@given(
    tables=st.dictionaries(NAMES.filter(lambda name: "." not in name), OWN, min_size=1, max_size=4),
    beta=st.floats(0, 100),
    seed=st.integers(0, 2**63 - 1),
)
def test_named_models_round_trip(tmp_path_factory, tables, beta, seed):
    """Each keeps what is its own and takes the rest from [model] and the seed, also after a trip through TOML."""
    keys = [re.sub("[_-]+", "-", name.lower()) for name in tables]
    assume(len(set(keys)) == len(keys) and not {"study", "columns", "originals", "thumbnails"} & set(keys))
    models = tuple(NamedModel(name, **own) for name, own in tables.items())
    config = StudyConfig(seed=seed, model=ModelConfig(latent_dim=(8,), beta=beta), models=models)
    path = tmp_path_factory.mktemp("config") / "study.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    back = from_toml(path)
    assert back == config
    assert hash(back) == hash(config)
    assert difference(config, back) == []
    assert from_dict(StudyConfig, to_dict(config)) == config
    for spec, (name, own) in zip(back.model_specs, tables.items(), strict=True):
        assert spec.name == name
        assert spec.seed == own.get("seed", seed)
        found = {**to_dict(spec.config), "latent_dim": spec.latent_dim}
        assert found == {**to_dict(config.model), "latent_dim": 8} | {k: v for k, v in own.items() if k != "seed"}


@pytest.mark.parametrize("field", dataclasses.fields(ModelConfig), ids=lambda field: field.name)
def test_every_option_of_the_model_can_be_a_models_own(field):
    """An option added to ModelConfig is one of [[models]] too, and a change of it is seen."""
    other = {"str": "", "int": 3, "float": 2.5}
    values = {"latent_dim": 5, "widths": [8], "norm": "group", "decoder": "transposed", "likelihood": "bernoulli",
              "linear_path": "on", "texture": "local", "prior": "flow", "covariate": "group"}  # fmt: skip
    own = {field.name: values.get(field.name, other.get(getattr(field.type, "__name__", "")))}
    old, new = (StudyConfig(models=(NamedModel("a"), NamedModel("b", **given))) for given in ({}, own))
    assert [line.partition(":")[0] for line in difference(old, new)] == [f"models.b.{field.name}"]


def test_difference_of_models_is_told_once():
    def of(**given):
        return StudyConfig(models=(NamedModel("a"), NamedModel("b", beta=4.0, seed=9)), **given)

    assert difference(of(), of(seed=3)) == ["seed: 0 -> 3"]
    assert difference(of(), of(model=ModelConfig(beta=2.0))) == ["model.beta: 1.0 -> 2.0"]
    turned = StudyConfig(models=of().models[::-1])
    assert difference(of(), turned) == ["models: a, b -> b, a"]
    assert difference(StudyConfig(), StudyConfig(models=(NamedModel("z16"),))) == []
    assert difference(of(), StudyConfig(models=(NamedModel("a", beta=1.0), of().models[1]))) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TrainConfig(epochs=0), "--epochs is 0, expected 1 or more"),
        (lambda: ModelConfig(latent_dim=(4, 4)), "--latent-dim"),
        (lambda: TilesConfig(sampler="by_pixel"), "a tile size, which --sampler by_pixel needs"),
        (lambda: AtlasConfig(clusters=1), "--clusters is 1"),
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
        ("[train]\nepoch = 3", UsageError, "(?s)unknown option 'epoch'.*did you mean epochs"),
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
