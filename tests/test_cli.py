"""The command line: messages, exit codes, quick start-up."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from zatlas import phantom
from zatlas.cli.flags import parser, study_config
from zatlas.cli.main import main


def run(*arguments, capsys):
    code = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_help_needs_no_torch():
    code = (
        "import sys; from zatlas.cli.main import main\n"
        "try: main(['study', '--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'pandas', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--latent-dim" in done.stdout


@pytest.mark.parametrize("kind", ["npz", "h5", "folder"])
def test_inspect_needs_no_torch(kind, tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (12, 32, 32)).astype(np.uint8)
    if kind == "npz":
        path = tmp_path / "images.npz"
        np.savez(path, images=images)
    elif kind == "h5":
        path = phantom.sections(tmp_path / "cells.h5", brains=3, images=2, min_px=130, max_px=150)
    else:
        path = tmp_path / "images"
        path.mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image).save(path / f"{number}.png")
    code = (
        "import sys; from zatlas.cli.main import main\n"
        f"code = main(['inspect', {str(path)!r}, '-o', {str(tmp_path / 'found')!r}, '--quiet'])\n"
        "heavy = {'torch', 'sklearn', 'anndata'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "found" / "stats.json").is_file()


@pytest.mark.parametrize("module", ["zatlas.vae", "zatlas.studies.study"])
def test_training_starts_without_what_comes_after_it(module):
    code = f"import sys, {module}; sys.exit(str({{'sklearn', 'matplotlib', 'anndata'}} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["study", "x.npz", "--epochs", "0"], 2, "--epochs is 0, expected 1 or more"),
        (["study", "x.npz", "--sampler", "by_pixel"], 2, "a tile size, which --sampler by_pixel needs"),
        (["study", "x.npz", "--epoch", "ten"], 2, "hint:"),
        (["nonsense"], 2, "invalid choice: 'nonsense'"),
        (["study"], 2, "no images given"),
        (["study", "--config", "missing.toml"], 2, "there is no such file"),
        (["report", "nowhere"], 65, "is not a study"),
    ],
)
def test_mistakes_are_one_sentence_with_a_code(arguments, code, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, out, err = run(*arguments, capsys=capsys)
    assert found == code
    assert err.startswith("error: ")
    assert message in err
    assert "Traceback" not in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_missing_images(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = run("study", "absent.npz", capsys=capsys)
    assert code in (65, 74)
    assert "absent.npz" in err
    assert list(tmp_path.iterdir()) == []


def test_control_characters_in_names_are_escaped(capsys):
    _, _, err = run("report", "evil\x1b[31m", capsys=capsys)
    assert "\x1b" not in err
    assert "\\x1b" in err


def test_dry_run_writes_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 255, (60, 32, 32)).astype(np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    code, out, err = run("study", "images.npz", "--widths", 8, 16, "--latent-dim", 2, 4, "--dry-run", capsys=capsys)
    assert code == 0, err
    assert "60 (" in out
    assert "model z4" in out
    assert [p.name for p in tmp_path.iterdir()] == ["images.npz"]
    assert err.rstrip().splitlines()[-1] == "next: zatlas study images.npz --widths 8 16 --latent-dim 2 4"


def test_flags_go_on_top_of_the_file(tmp_path):
    (tmp_path / "a.toml").write_text("[data]\ninput = 'x.npz'\n[train]\nepochs = 7\nbatch_size = 9\n")
    options = parser().parse_args(["study", "--config", str(tmp_path / "a.toml"), "--epochs", "3"])
    config = study_config(options)
    assert (config.train.epochs, config.train.batch_size) == (3, 9)
    assert config.data.input == str(tmp_path / "x.npz")
