"""Named models of a study, `[[models]]`: two of one latent size and a third of another likelihood, to the very end."""

import dataclasses
import json
import re
import tomllib
from pathlib import Path

import anndata
import numpy as np
import pytest
from example_results import example_results

import zatlas as za
from zatlas import files
from zatlas.cli.main import main
from zatlas.config import ModelConfig, NamedModel, StudyConfig, from_dict, from_toml, to_dict, to_toml
from zatlas.errors import DataError, UsageError, ZatlasError
from zatlas.explorer.bundle.writing import write_bundle
from zatlas.report.figures.catalogue import catalogue
from zatlas.report.sections import build_sections
from zatlas.results.kinds import StudyResults
from zatlas.studies.data import StudyData

MODELS = """
[[models]]
name = "z4"

[[models]]
name = "beta4"
beta = 4

[[models]]
name = "bce"
latent_dim = 2
likelihood = "bernoulli"
seed = 7
"""
SETTINGS = """
seed = 1
title = "Named"

[tiles]
size = 16

[model]
latent_dim = [4]
widths = [4, 8]
beta = 0.5

[train]
epochs = 2
batch_size = 16
threads = 1
precision = "float32"
deterministic = true

[atlas]
clusters = 2
points = 1
examples = 2
samples = 4
"""


def zatlas(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images and `named.toml`."""
    folder = tmp_path_factory.mktemp("named")
    za.phantom.radiographs(folder / "x_images.npz", images=60, size=32, seed=1)
    (folder / "named.toml").write_text(SETTINGS + MODELS)
    return folder


@pytest.fixture(scope="module")
def made(ground: Path) -> za.Study:
    out = ground / "study"
    assert (
        zatlas("study", ground / "x_images.npz", "--config", ground / "named.toml", "-q", "--no-explorer", "-o", out)
        == 0
    )
    return za.Study(out)


def report_text(study: za.Study) -> str:
    page = (study.folder / "report.html").read_text()
    return re.sub(r"\s+", " ", re.sub(r"<style.*?</style>|<script.*?</script>|<[^>]+>", " ", page, flags=re.DOTALL))


def test_every_model_is_there_under_its_name(made: za.Study) -> None:
    assert made.state == "complete"
    assert files.verify(made.folder) == []
    assert made.names == ["z4", "beta4", "bce"]
    for name in made.names:
        for file in (f"models/{name}/weights.safetensors", f"atlases/{name}.h5ad", f"results/{name}/results.json"):
            assert (made.folder / file).is_file(), file
        assert list((made.folder / "figures").glob(f"{name}-*.svg"))
    assert sorted(path.name for path in (made.folder / "models").iterdir()) == ["bce", "beta4", "z4"]


def test_each_model_is_trained_with_what_is_its_own(made: za.Study) -> None:
    told = {}
    for name in made.names:
        config = tomllib.loads((made.folder / "models" / name / "config.toml").read_text())
        model = config["model"]
        told[name] = (model["latent_dim"], model["beta"], model["likelihood"], model["widths"], config["seed"])
        assert set(model) == set(ModelConfig.__dataclass_fields__)
    assert told == {
        "z4": ([4], 0.5, "gaussian", [4, 8], 1),
        "beta4": ([4], 4.0, "gaussian", [4, 8], 1),
        "bce": ([2], 0.5, "bernoulli", [4, 8], 7),
    }
    shown = {model.name: (model.latent_dim, model.beta, model.likelihood) for model in made.results().models}
    assert shown == {"z4": (4, 0.5, "gaussian"), "beta4": (4, 4.0, "gaussian"), "bce": (2, 0.5, "bernoulli")}


def test_effective_beta_is_measured_with_the_models_own_beta(made: za.Study) -> None:
    z4, beta4, _ = made.results().models
    assert beta4.effective_beta / z4.effective_beta == pytest.approx(8, rel=0.5)


def test_a_model_is_opened_by_its_name(made: za.Study) -> None:
    vae = za.Study(made.folder).vae("beta4")
    assert (vae.latent_dim, vae.model.beta, vae.model) == (4, 4.0, made.spec("beta4").config)
    assert vae.sample(2).shape == (2, 1, 16, 16)
    assert made.atlas("bce").latent_dim == 2
    assert made.vae("4").model == made.vae("z4").model
    assert made.name() == "bce", "the last one"
    with pytest.raises(UsageError, match=r"(?s)no model beta5.*did you mean beta4\? its models are z4, beta4, bce"):
        made.vae("beta5")


def test_headline_has_a_line_per_model(made: za.Study, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(made.headline()) == ["z4", "beta4", "bce"]
    assert zatlas("study", made.folder, "--no-explorer") == 0
    out, err = capsys.readouterr()
    assert "nothing to do" in err
    assert re.findall(r"^(\w+) .* of (\d) dimensions active", out, re.MULTILINE) == [
        ("z4", "4"), ("beta4", "4"), ("bce", "2"),
    ]  # fmt: skip
    lines = re.findall(r"^ +(?:beats|level with|stays below) PCA-(\d) .*; by the pooled error .* PCA-\1 ", out, re.M)
    assert lines == ["4", "4", "2"]
    facts = made.results().models[0].pca_facts
    assert facts["n_draws"] == facts["draws"][-1] and len(facts["draws"]) == len(facts["validation_db"])


def test_going_on_does_nothing(made: za.Study, ground: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in made.folder.rglob("*") if file.is_file()}
    images, config = ground / "x_images.npz", ground / "named.toml"
    assert zatlas("study", images, "--config", config, "-q", "--no-explorer", "-o", made.folder) == 0
    assert zatlas("study", made.folder, "-q", "--no-explorer") == 0
    assert {file: file.stat().st_mtime_ns for file in made.folder.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text + '\n[[models]]\nname = "wide"\n', "models: z4, beta4, bce -> z4, beta4, bce, wide"),
        (lambda text: text.replace("beta = 4", "beta = 5"), "models.beta4.beta: 4.0 -> 5.0"),
        (lambda text: text.replace("seed = 7", "seed = 8"), "models.bce.seed: 7 -> 8"),
        (lambda text: text.replace("beta = 0.5", "beta = 0.6"), "configuration: model.beta: 0.5 -> 0.6\n"),
        (lambda text: text.replace('"bce"', '"cross"'), "models: z4, beta4, bce -> z4, beta4, cross"),
        (lambda text: text.replace("\nlatent_dim = 2", ""), "models.bce.latent_dim: [2] -> [4]"),
        (lambda text: text.replace(MODELS, ""), "models: z4, beta4, bce -> z4"),
    ],
)
def test_another_model_in_a_finished_study_is_refused(made, ground, tmp_path, capsys, change, told) -> None:
    other = tmp_path / "other.toml"
    other.write_text(change((ground / "named.toml").read_text()))
    assert zatlas("study", ground / "x_images.npz", "--config", other, "-o", made.folder) == 2
    assert told in capsys.readouterr().err


def test_the_same_models_said_otherwise_are_the_same_study(made: za.Study, ground: Path, tmp_path: Path) -> None:
    """What a table leaves out, or gives as [model] has it, is no difference."""
    other = tmp_path / "other.toml"
    other.write_text((ground / "named.toml").read_text().replace('name = "z4"', 'name = "z4"\nseed = 1\nbeta = 0.5'))
    command = ["study", ground / "x_images.npz", "--config", other, "-q", "--no-explorer", "-o", made.folder]
    assert zatlas(*command) == 0


def test_study_toml_can_be_given_again(made: za.Study, tmp_path: Path) -> None:
    stored = tomllib.loads((made.folder / "study.toml").read_text())
    assert stored["models"] == tomllib.loads(MODELS)["models"]
    assert from_toml(made.folder / "study.toml") == made.config
    (tmp_path / "again.toml").write_text(to_toml(made.config))
    assert from_toml(tmp_path / "again.toml") == made.config


def test_report_says_names_where_sizes_would_be_false(made: za.Study) -> None:
    text = report_text(made)
    assert "3 variational autoencoders (z4, beta4 and bce) of them, with 4 and 2 latent dimensions." in text
    assert "beta4: 4 latent dimensions, beta 4" in text
    assert "bce: 2 latent dimensions, likelihood bernoulli, seed 7" in text
    assert "beta 0.5 in z4, 4 in beta4 and 0.5 in bce" in text
    assert "How do the reconstructions differ between the models?" in text
    assert "Against z4, beta4 (beta 4) has" in text
    assert re.search(r"Against z4, bce \(likelihood bernoulli, seed 7\) has \S+ dB and \S+ nats of rate[.;]", text)
    assert "The models have different likelihoods, gaussian in z4 and beta4 and bernoulli in bce" in text
    assert "models.beta4.beta 4" in text
    assert "Distortions of different likelihoods must not be compared." in text
    assert "Distortion and ELBO of different likelihoods must not be compared." in text
    assert "Each model was trained once. A small difference between two models may be one of seeds." in text
    for false in ("latent sizes", "latent size was", "successive sizes", "The larger code", "the larger code", "z2"):
        assert false not in text, false


def test_no_distortion_is_the_best_of_two_likelihoods(made: za.Study) -> None:
    def best(results: StudyResults) -> set[str]:
        blocks = next(section.blocks for section in build_sections(results, []) if section.id == "summary")
        table = next(b for b in blocks if isinstance(b, dict) and b.get("title") == "Models on the test split")
        return {table["header"][column] for column, _ in table["best"]}

    results = made.results()
    assert best(results) == {"PSNR [dB]", "SSIM"}
    results.models.pop()
    assert best(results) == {"distortion [nats]", "PSNR [dB]", "SSIM"}


def test_figures_of_any_names_have_names_of_their_own() -> None:
    results = example_results(n_models=4, n_images=60, size=24, points=3)
    for model, name in zip(results.models, ("a", "b-c", "a-b", "c"), strict=True):
        model.name = name
    ids = [recipe.id for recipe in catalogue(results)]
    assert ids.count("clusters-a-b-c") == ids.count("clusters-a-b-c-2") == 1
    assert len(set(ids)) == len(ids)


def test_bundle_and_verbs_take_names(made: za.Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_bundle(made, tmp_path / "bundle", models=["z4", "beta4"], with_encoder=False)
    assert [(model["name"], model["latent_dim"], model["beta"]) for model in manifest["models"]] == [
        ("z4", 4, 0.5), ("beta4", 4, 4.0),
    ]  # fmt: skip
    assert manifest["run"]["config"]["models.beta4"] == {"name": "beta4", "beta": 4.0}
    assert (tmp_path / "bundle" / "beta4" / "mean.f32").read_bytes() == made.atlas("beta4").mean.tobytes()
    assert zatlas("embed", made.folder, "--model", "beta4", "-q", "-o", tmp_path / "beta4.h5ad") == 0
    assert np.allclose(anndata.read_h5ad(tmp_path / "beta4.h5ad").X, made.atlas("beta4").mean, atol=1e-5)
    assert zatlas("walk", made.folder, "--model", "bce", "--axis", "z1", "--points", 1, "-q", "-o", tmp_path / "w") == 0
    assert zatlas("sample", made.folder, "--model", "beta4", "-n", 1, "-q", "-o", tmp_path / "samples") == 0
    assert capsys.readouterr().err == ""
    assert zatlas("walk", made.folder, "--model", "z16") == 2


def test_dry_run_lists_every_model(ground: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["study", ground / "x_images.npz", "--config", ground / "named.toml", "-o", tmp_path / "no", "--dry-run"]
    assert zatlas(*command, "--json", "-q") == 0
    planned = json.loads(capsys.readouterr().out)["models"]
    assert [model["name"] for model in planned] == ["z4", "beta4", "bce"]
    assert planned[0]["n_parameters"] == planned[1]["n_parameters"] > planned[2]["n_parameters"]
    assert not (tmp_path / "no").exists()


def test_seeds_of_two_models_differ_in_weights_and_order_only(
    ground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, tiles_of = [], StudyData.training_tiles
    monkeypatch.setattr(StudyData, "training_tiles", lambda data, seed=None: asked.append(seed) or tiles_of(data, seed))
    config = from_toml(ground / "named.toml")
    models = (NamedModel("a"), NamedModel("again"), NamedModel("b", seed=2))
    data = dataclasses.replace(config.data, input=str(ground / "x_images.npz"))
    study = za.study(dataclasses.replace(config, models=models, data=data), tmp_path / "study", until="train")
    weights = {name: files.sha256(study.folder / "models" / name / "weights.safetensors") for name in study.names}
    assert weights["a"] == weights["again"] != weights["b"]
    assert asked == [1, None, 1, 2], "and once for the PCA that all begin at, in the order of the study's seed"
    prepared = study.data()
    order = [next(iter(prepared.training_tiles(seed).batches(0, 8))).x.numpy() for seed in (None, 1, 2)]
    assert np.array_equal(order[0], order[1])
    assert not np.array_equal(order[0], order[2])


def test_flags_fill_what_the_tables_leave_out(ground: Path) -> None:
    from zatlas.cli.flags import parser, study_config

    given = ["study", "x.npz", "--config", str(ground / "named.toml")]
    config = study_config(parser().parse_args([*given, "--beta", "2", "--seed", "5"]))
    assert [(spec.config.beta, spec.seed) for spec in config.model_specs] == [(2, 5), (4, 5), (2, 7)]
    with pytest.raises(UsageError, match=r"--latent-dim is .* beside"):
        study_config(parser().parse_args([*given, "--latent-dim", "4", "8"]))
    own = SETTINGS + '[[models]]\nname = "a"\nbeta = 1\n[[models]]\nname = "b"\nbeta = 2\n'
    (ground / "own.toml").write_text(own)
    with pytest.raises(UsageError, match="--beta has no effect"):
        study_config(parser().parse_args(["study", "x.npz", "--config", str(ground / "own.toml"), "--beta", "2"]))


@pytest.mark.parametrize(
    ("table", "kind", "message", "hint"),
    [
        ("beta = 2", UsageError, "has no name", 'name = "beta4"'),
        ("name = 4", DataError, "name is 4, expected str", "quotes"),
        ('name = "two words"', UsageError, "'two words' cannot be the name", "letters, digits"),
        ('name = "../up"', UsageError, "cannot be the name", "letters, digits"),
        ('name = "-q"', UsageError, "cannot be the name", "a letter or digit first"),
        ('name = "end."', UsageError, "cannot be the name", r"no \. last"),
        ('name = "müde"', UsageError, "cannot be the name", "letters, digits"),
        (f'name = "{"a" * 25}"', UsageError, "has 25 letters, expected at most 24", "shorten"),
        ('name = "Study"', UsageError, "cannot be named Study", "another name"),
        ('name = "z4"\n[[models]]\nname = "z4"', UsageError, "two models are named z4\n", "z4-2"),
        ('name = "z4"\n[[models]]\nname = "Z4"', UsageError, "named z4 and Z4, which differ only in case", "Z4-2"),
        ('name = "a-b"\n[[models]]\nname = "a_b"', UsageError, "named a-b and a_b, which differ only", "a_b-2"),
        ('name = "z4"\nbata = 3', UsageError, r"(?s)unknown option 'bata'.*\[\[models\]\] z4", r"did you mean beta\?"),
        ('name = "z4"\nbeta = "3"', DataError, "beta is '3', expected float", "correct beta"),
        ('name = "z4"\nbeta = -1', UsageError, r"(?s)--beta is -1.*study.toml \[\[models\]\] z4", "0 or more"),
        ('name = "z4"\nlatent_dim = 0', UsageError, "--latent-dim", "1 to 4096"),
        ('name = "z4"\nseed = -1', UsageError, "--seed is -1", "whole number"),
        ('name = "z4"\n[model]\nlatent_dim = [4, 8]', UsageError, "--latent-dim is .* beside", "keep one size"),
    ],
)
def test_bad_tables_are_refused_in_words(
    tmp_path: Path, table: str, kind: type[ZatlasError], message: str, hint: str
) -> None:
    path = tmp_path / "study.toml"
    path.write_text(f"[[models]]\n{table}\n", encoding="utf-8")
    with pytest.raises(kind, match=message) as caught:
        from_toml(path)
    assert re.search(hint, caught.value.hint)
    assert "\n" not in caught.value.what


def test_a_model_whose_likelihood_does_not_fit_the_greys_is_named(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    text = (
        '[data]\ninput = "x.npz"\n[[models]]\nname = "b"\nlikelihood = "bernoulli"\n[tiles]\nscaling = "standardise"\n'
    )
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"needs grey values from 0 to 1") as caught:
        za.study(path, tmp_path / "study")
    assert (caught.value.where, caught.value.hint[:20]) == ("[[models]] b", "use --scaling minmax")


def test_a_single_table_is_no_list(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text('[models]\nname = "z4"\n')
    with pytest.raises(DataError, match=r"(?s)single table.*\[\[models\]\]"):
        from_toml(tmp_path / "study.toml")


def test_sizes_alone_are_named_after_them_and_write_no_models() -> None:
    config = StudyConfig(seed=3, model=ModelConfig(latent_dim=(16, 4), beta=2.0))
    assert [(spec.name, spec.config.latent_dim, spec.config.beta, spec.seed) for spec in config.model_specs] == [
        ("z16", (16,), 2.0, 3), ("z4", (4,), 2.0, 3),
    ]  # fmt: skip
    assert "models" not in to_toml(config)
    assert "models" not in to_dict(config)


def test_the_page_about_it_shows_what_it_says() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "how-to" / "compare_models.md").read_text()
    (example,) = re.findall(r"^```toml\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    specs = {spec.name: spec for spec in from_dict(StudyConfig, tomllib.loads(example)).model_specs}
    base = specs["z16"].config
    assert specs["beta4"].config == dataclasses.replace(base, beta=4.0)
    assert specs["bce"].config == dataclasses.replace(base, likelihood="bernoulli")
    assert specs["wide"].config == dataclasses.replace(base, widths=(64, 128, 256))
    assert (specs["other-seed"].config, specs["other-seed"].seed, specs["z16"].seed) == (base, 1, 0)
