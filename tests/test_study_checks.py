"""What a study refuses before it begins: the same with --dry-run, one sentence, nothing written."""

import numpy as np
import pytest
from own_parts import Residual

import zatlas as za
from zatlas import files
from zatlas.cli.main import main
from zatlas.config import DataConfig, ModelConfig, NamedModel, StudyConfig, TilesConfig, TrainConfig
from zatlas.errors import UsageError

FEW = (
    *("--widths", 4, 8, "--latent-dim", 2, "--epochs", 1, "--samples", 4, "--points", 1),
    *("--precision", "float32", "--threads", 1),
)
ONE = ("--test-fraction", 0.5, "--validation-fraction", 0.9, "--augment", "off", "--jitter", 0)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working folder, with images of several kinds in it."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    greys = rng.integers(0, 255, (12, 16, 16))
    np.savez(tmp_path / "four.npz", images=greys[:4].astype(np.uint8))
    np.savez(tmp_path / "whole.npz", images=greys.astype(np.uint8))
    np.savez(tmp_path / "signed.npz", images=(greys - 100).astype(np.int16))
    np.savez(tmp_path / "fractions.npz", images=greys.astype(np.float32) / 255)
    return tmp_path


REFUSED = {
    "too few images": (("four.npz",), 65, "the atlas would have 4 images, expected at least 5"),
    "too few tiles": (("four.npz", "--tile", 16), 65, "the atlas would have 4 tiles, expected at least 5"),
    "perplexity": (("whole.npz", "--perplexity", 12), 2, "--perplexity is 12, expected at most 11 for an atlas of 12"),
    "regions": (("whole.npz", "--clusters", 13), 2, "--clusters is 13, expected at most 12 for an atlas of 12 images"),
    "fractions": (("fractions.npz", "--likelihood", "discretised_logistic"), 2, "is one of whole numbers"),
    "fractions as counts": (("fractions.npz", "--likelihood", "poisson"), 2, "is one of whole numbers"),
    "counts below 0": (
        ("signed.npz", "--likelihood", "poisson", "--scaling", "standardise"), 2, "pixels of these images may be -327",
    ),
    "greys": (("whole.npz", "--likelihood", "bernoulli", "--scaling", "standardise"), 2, "needs grey values from 0 to"),
    "one training image": (
        ("whole.npz", *ONE), 65, "the training part has 1 image, expected at least 2 where images are neither",
    ),
    "stages": (("whole.npz", "--widths", 4, 8, 16, 32), 2, "images of 16 px are too small for 4 stages"),
    "group": (("whole.npz", "--test-group", "B20"), 2, "the images have no groups"),
    "folder": (("whole.npz", "-o", "."), 2, "is not empty and holds no study"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["study", "dry run"])
def test_it_is_refused_before_anything_is_made(case, dry, here, capsys):
    arguments, code, words = REFUSED[case]
    before = sorted(path.name for path in here.iterdir())
    assert main([str(one) for one in ("study", *FEW, *arguments, "-q", *dry)]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and words in err and "\nhint: " in err
    assert "Traceback" not in err
    assert sorted(path.name for path in here.iterdir()) == before, "the next try must find no half study in its way"


def test_a_study_of_another_configuration_is_told_by_a_dry_run(here, capsys):
    assert main([str(one) for one in ("train", *FEW, "whole.npz", "-q", "-o", "made")]) == 0
    other = [str(one) for one in ("study", *FEW, "whole.npz", "--beta", 2, "--dry-run", "-o", "made")]
    capsys.readouterr()
    assert main(other) == 2
    assert "made holds a study of another configuration: model.beta: 1.0 -> 2.0" in capsys.readouterr().err
    assert main([*other, "--force"]) == 0
    assert "study      made-2" in capsys.readouterr().out
    assert not (here / "made-2").exists()


def test_a_few_images_can_be_trained_without_an_atlas(here, capsys):
    assert main([str(one) for one in ("train", *FEW, "four.npz", "-q", "-o", "made")]) == 0
    assert (here / "made" / "models" / "z2" / "weights.safetensors").is_file()
    told = capsys.readouterr().err
    assert "split: the best epoch is chosen by a single image" in told
    assert told.count("the best epoch") == 1, "said once, and with the words of the command line"


@pytest.mark.parametrize(
    "kept", [(*ONE[:4],), (*ONE, "--augment", "on"), (*ONE, "--jitter", 0.05)], ids=["as set", "flipped", "moved"]
)
def test_one_training_image_that_is_varied_is_enough_for_a_pca(kept, here, capsys):
    assert main([str(one) for one in ("study", *FEW, "whole.npz", *kept, "-q", "--dry-run")]) == 0
    assert "(1 train" in capsys.readouterr().out


def test_one_training_image_is_not_enough_for_a_training_that_begins_at_pca(here, capsys):
    assert main([str(one) for one in ("train", *FEW, "whole.npz", *ONE, "-q", "--dry-run")]) == 65
    assert "the training part has 1 image" in capsys.readouterr().err


def test_one_training_image_is_enough_where_nothing_asks_for_a_pca(here):
    dry = ("train", *FEW, "whole.npz", *ONE, "--linear-path", "off", "-q", "--dry-run")
    assert main([str(one) for one in dry]) == 0
    assert main([str(one) for one in (*dry[:-1], "-o", "made")]) == 0


def test_a_dry_run_times_a_network_with_local_latents(here, capsys):
    asked = ("--texture", "local", "--widths", 4, 6, 8)
    assert main([str(one) for one in ("study", *FEW, "whole.npz", *asked, "-q", "--dry-run")]) == 0
    assert "images/s" in capsys.readouterr().out


@pytest.mark.slow
def test_five_images_make_a_whole_study(here):
    np.savez(here / "five.npz", images=np.load(here / "whole.npz")["images"][:5])
    assert main([str(one) for one in ("study", *FEW, "five.npz", "--no-explorer", "-q", "-o", "made")]) == 0
    assert files.verify(here / "made") == []
    assert (here / "made" / "report.html").is_file()


def test_the_second_model_is_looked_at_before_the_first_is_trained(here):
    models = (NamedModel("fits"), NamedModel("deep", widths=(4, 8, 16, 32)), NamedModel("whole", likelihood="poisson"))
    config = StudyConfig(
        data=DataConfig(input="fractions.npz"), tiles=TilesConfig(size=16),
        model=ModelConfig(latent_dim=(2,), widths=(4, 8)), models=models, train=TrainConfig(epochs=1),
    )  # fmt: skip
    with pytest.raises(UsageError, match=r"too small for 4 stages.*\n  in \[\[models\]\] deep\n"):
        za.study(config, "made")
    assert not (here / "made").exists()


def test_an_own_network_is_tried_before_anything_is_trained(here):
    config = StudyConfig(data=DataConfig(input="whole.npz"), model=ModelConfig(latent_dim=(2, 3), widths=(4, 8)))
    with pytest.raises(UsageError, match=r"Residual\.encode gives means of shape"):
        za.study(config, "made", networks={"z3": Residual(d=4)})
    assert not (here / "made").exists()
