"""Phantom images: layout, purity, ranges, and factors that show in the pixels."""

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest

from zatlas import files
from zatlas.errors import UsageError, WriteError
from zatlas.images import phantom
from zatlas.images.phantom.radiograph import draw_radiograph, patient_of
from zatlas.images.phantom.section import draw_section

KINDS = ("sections", "radiographs")


@pytest.fixture(scope="module")
def drawn_sections() -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    drawn = [draw_section(3, brain, image, min_px=120, max_px=180) for brain in range(4) for image in range(10)]
    return [pixels for pixels, _ in drawn], columns([factors for _, factors in drawn])


@pytest.fixture(scope="module")
def drawn_radiographs() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    drawn = [draw_radiograph(3, image, patient_of(3, image), size=32) for image in range(120)]
    return np.stack([pixels for pixels, _, _ in drawn]), columns([factors for _, factors, _ in drawn])


def columns(rows: list[dict[str, float]]) -> dict[str, np.ndarray]:
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def effect(factors: dict[str, np.ndarray], name: str, response: np.ndarray) -> float:
    """Change of the response for one standard deviation of a factor, all others held (multiple regression)."""
    standard = {key: (values - values.mean()) / values.std() for key, values in factors.items()}
    design = np.column_stack([np.ones(len(response)), *standard.values()])
    weights = np.linalg.lstsq(design, response, rcond=None)[0]
    return float(weights[1 + list(standard).index(name)])


# ---- sections


@pytest.mark.parametrize("compression", ["gzip", None])
def test_sections_are_laid_out_like_the_real_file(tmp_path, compression):
    path = phantom.sections(
        tmp_path / "cell_data.h5", brains=6, images=1, min_px=64, max_px=90, compression=compression
    )
    with h5py.File(path) as file:
        assert list(file) == ["B01", "B02", "B05", "B07", "B20", "B21"]
        for group in file.values():
            assert list(group) == ["0000"]
            dataset = group["0000"]
            assert dataset.dtype == np.uint8
            assert dataset.ndim == 2
            assert dataset.compression == compression
            assert all(64 <= side <= 90 for side in dataset.shape)
            assert set(dataset.attrs) == set(phantom.factor_names("sections"))
            assert all(np.isscalar(value) for value in dataset.attrs.values())


def test_contiguous_sections_can_be_mapped(tmp_path):
    path = phantom.sections(tmp_path / "c.h5", brains=1, images=2, min_px=64, max_px=70, compression=None)
    with h5py.File(path) as file:
        dataset = file["B01/0001"]
        assert dataset.chunks is None
        mapped = np.memmap(path, np.uint8, "r", offset=dataset.id.get_offset(), shape=dataset.shape)
        assert np.array_equal(mapped, dataset[()])


def test_the_same_seed_gives_the_same_file(tmp_path):
    small = {"brains": 2, "images": 2, "min_px": 64, "max_px": 90}
    first, again, other = (
        files.sha256(phantom.sections(tmp_path / f"{i}.h5", seed=seed, **small)) for i, seed in enumerate([5, 5, 6])
    )
    assert first == again != other


def test_a_section_does_not_depend_on_how_many_there_are(tmp_path):
    sizes = {"min_px": 64, "max_px": 90}
    few = phantom.sections(tmp_path / "few.h5", brains=1, images=2, **sizes)
    many = phantom.sections(tmp_path / "many.h5", brains=2, images=3, **sizes)
    with h5py.File(few) as a, h5py.File(many) as b:
        assert np.array_equal(a["B01/0001"][()], b["B01/0001"][()])
        assert dict(a["B01/0001"].attrs) == dict(b["B01/0001"].attrs)
        assert a["B01/0000"].shape != a["B01/0001"].shape


def test_section_factors_stay_in_their_ranges_and_are_not_mixed(drawn_sections):
    _, factors = drawn_sections
    for name, (low, high) in phantom.factor_ranges("sections").items():
        slack = 0.35 * (high - low) if name in ("fibres", "vessels", "tears", "island_fraction") else 0.0
        assert low <= factors[name].min(), name
        assert factors[name].max() <= high + slack, name
        assert factors[name].std() > 0.1 * (high - low), name
    table = np.corrcoef(np.stack(list(factors.values())))
    assert np.abs(table - np.eye(len(table))).max() < 0.5


def test_stain_darkens_and_the_background_stays_light(drawn_sections):
    pixels, factors = drawn_sections
    greys = np.array([image.mean() for image in pixels])
    assert correlation(factors["stain"], greys) < -0.8
    assert 110 < np.median(np.concatenate([image.ravel() for image in pixels])) < 200


def test_stain_has_a_level_of_its_own_in_each_brain():
    stain = np.array([[draw_section(0, b, i, min_px=64, max_px=64)[1]["stain"] for i in range(6)] for b in range(5)])
    assert stain.mean(axis=1).std() > 0.5 * stain.std(axis=1).mean()


def test_cells_darken_the_deep_layers_beside_layer_i(drawn_sections):
    pixels, factors = drawn_sections
    contrast = [np.log(image[int(0.82 * len(image)) : -8].mean() / image[: len(image) // 2].mean()) for image in pixels]
    assert correlation(factors["cell_density"], np.array(contrast)) > 0.6


def test_tears_and_vessels_are_as_bright_as_glass(drawn_sections):
    pixels, factors = drawn_sections
    bright = np.array([(image[: int(0.9 * len(image))] > 215).mean() for image in pixels])
    assert correlation(factors["tears"], bright) > 0.6


@pytest.mark.parametrize("factor", ["cell_density", "island_fraction", "cell_size"])
def test_more_of_a_factor_means_more_of_it_in_the_picture(factor, drawn_sections):
    pixels, factors = drawn_sections
    dark = np.array([(image < 0.62 * np.median(image)).mean() for image in pixels])
    if factor == "cell_size":  # cover is kept when cells grow
        assert abs(effect(factors, factor, dark)) < 0.6 * effect(factors, "cell_density", dark)
    else:
        assert effect(factors, factor, dark) > 0


# ---- radiographs


def test_radiographs_are_laid_out_like_the_real_files(tmp_path):
    images, labels = phantom.radiographs(tmp_path / "xray_images.npz", images=12, size=32)
    assert labels == tmp_path / "xray_labels.csv"
    with np.load(images) as file:
        assert list(file) == ["images"]
        assert file["images"].shape == (12, 32, 32)
        assert file["images"].dtype == np.uint8
    with labels.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["index", "patient", "label", *phantom.factor_names("radiographs")]
    assert [int(row["index"]) for row in rows] == list(range(12))
    assert all((row["label"] == "opacity") == (float(row["opacity"]) > 0) for row in rows)
    assert phantom.radiographs(tmp_path / "chests.npz", images=1, size=32)[1].name == "chests_labels.csv"


def test_the_same_seed_gives_the_same_radiographs(tmp_path):
    paths = [phantom.radiographs(tmp_path / f"{i}.npz", images=4, size=32, seed=s) for i, s in enumerate([5, 5, 6])]
    first, again, other = ([files.sha256(path) for path in pair] for pair in paths)
    assert first == again
    assert first[0] != other[0]


def test_a_radiograph_does_not_depend_on_how_many_there_are(tmp_path):
    few, few_labels = phantom.radiographs(tmp_path / "few.npz", images=3, size=32)
    many, many_labels = phantom.radiographs(tmp_path / "many.npz", images=6, size=32)
    with np.load(few) as a, np.load(many) as b:
        assert np.array_equal(a["images"], b["images"][:3])
    assert few_labels.read_text() == "".join(many_labels.read_text().splitlines(keepends=True)[:4])


@pytest.mark.parametrize("size", [32, 45, 100, 256])
def test_every_size_draws_the_same_thorax(size):
    pixels, factors, _ = draw_radiograph(0, 3, 3, size=size)
    assert pixels.shape == (size, size)
    assert factors == draw_radiograph(0, 3, 3, size=64)[1]
    middle, lung, corner = (pixels[int(y * size), int(x * size)] for y, x in [(0.6, 0.5), (0.5, 0.27), (0.02, 0.02)])
    assert middle > lung > corner


def test_about_seven_patients_in_ten_images_and_as_many_as_asked():
    automatic = [patient_of(0, i) for i in range(1000)]
    assert len(set(automatic)) == 700
    assert max(automatic) == 699
    assert len({patient_of(0, i, patients=9) for i in range(40)}) == 9


def test_images_of_a_patient_share_the_anatomy_alone():
    rows = [draw_radiograph(0, image, 5, size=32) for image in range(3)]
    shared = {name for name in rows[0][1] if len({factors[name] for _, factors, _ in rows}) == 1}
    assert {"lung_size", "heart_size", "ribs"} <= shared
    assert not shared & {"exposure", "rotation", "inspiration"}
    assert len({label for _, _, label in rows}) == 1


def test_radiograph_factors_stay_in_their_ranges(drawn_radiographs):
    _, factors = drawn_radiographs
    for name, (low, high) in phantom.factor_ranges("radiographs").items():
        assert low <= factors[name].min(), name
        assert factors[name].max() <= high, name
        assert factors[name].std() > 0.15 * (high - low), name
    assert set(factors["marker"]) == {0.0, 1.0}


def test_radiograph_factors_show_in_the_pixels(drawn_radiographs):
    pixels, factors = drawn_radiographs
    x = pixels.astype(float)
    left, right = x[:, 12:20, 6:11].mean((1, 2)), x[:, 12:20, 21:26].mean((1, 2))
    assert correlation(factors["exposure"], x.mean((1, 2))) < -0.8
    assert correlation(factors["rotation"], right - left) < -0.4
    assert correlation(factors["inspiration"], x[:, 22:26, 7:10].mean((1, 2))) < -0.5
    assert effect(factors, "heart_size", x[:, 17:22, 19:23].mean((1, 2))) > 5
    assert correlation(factors["marker"], np.maximum(x[:, 1:5, :4].max((1, 2)), x[:, 1:5, -4:].max((1, 2)))) > 0.5


def test_a_linear_probe_reads_the_strong_factors_from_few_components():
    drawn = [draw_radiograph(1, image, patient_of(1, image), size=32) for image in range(300)]
    x = np.stack([pixels for pixels, _, _ in drawn]).reshape(300, -1).astype(float)
    factors = columns([row for _, row, _ in drawn])
    train, test = slice(0, 200), slice(200, 300)
    mean = x[train].mean(axis=0)
    components = np.linalg.svd(x[train] - mean, full_matrices=False)[2][:24]
    z = np.column_stack([(x - mean) @ components.T, np.ones(len(x))])
    for name in ("lung_size", "heart_size", "rotation", "exposure", "inspiration"):
        weights = np.linalg.lstsq(z[train], factors[name][train], rcond=None)[0]
        assert correlation(z[test] @ weights, factors[name][test]) ** 2 > 0.75, name


# ---- both


def test_factor_names_are_those_of_the_tables_in_the_documentation():
    assert phantom.__doc__ is not None
    rows = [line.split("`")[1] for line in phantom.__doc__.splitlines() if line.startswith("| `")]
    assert tuple(rows) == phantom.factor_names("sections") + phantom.factor_names("radiographs")


@pytest.mark.parametrize("kind", KINDS)
def test_documented_ranges_are_the_true_ones(kind):
    assert phantom.__doc__ is not None
    for name, (low, high) in phantom.factor_ranges(kind).items():
        row = next(line for line in phantom.__doc__.splitlines() if line.startswith(f"| `{name}`"))
        numbers = [
            float(word.strip(" ;,")) for word in row.split("|")[3].replace(" to ", " ").replace(" or ", " ").split()
        ]
        assert (min(numbers), max(numbers)) == (low, high), name


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: phantom.sections(p / "a.h5", brains=0), "brains is 0, expected 1 to 99"),
        (lambda p: phantom.sections(p / "a.h5", min_px=10), "min_px is 10"),
        (lambda p: phantom.sections(p / "a.h5", min_px=200, max_px=100), "max_px is 100"),
        (lambda p: phantom.sections(p / "a.h5", compression="lzf"), "compression is 'lzf'"),
        (lambda p: phantom.radiographs(p / "a.npz", size=16), "size is 16, expected 32 to 256"),
        (lambda p: phantom.radiographs(p / "a.npz", images=3, patients=4), "patients is 4, expected 0 to 3"),
        (lambda p: phantom.radiographs(p / "a.npy"), "does not end in .npz"),
        (lambda p: phantom.factor_names("teeth"), "no phantom of kind 'teeth'"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(tmp_path, call, message):
    with pytest.raises(UsageError, match=message) as caught:
        call(tmp_path)
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_nothing_half_written_is_left_behind(tmp_path):
    class Stopped(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        phantom.sections(tmp_path / "a.h5", brains=1, images=2, min_px=64, max_px=64, on_progress=stop)
    with pytest.raises(Stopped):
        phantom.radiographs(tmp_path / "a.npz", images=2, size=32, on_progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_folder_is_named(tmp_path, kind):
    small = {"brains": 1, "images": 1} if kind == "sections" else {"images": 1}
    with pytest.raises(WriteError, match="cannot write"):
        getattr(phantom, kind)(Path(tmp_path / "absent" / "a.npz"), **small)


def test_progress_is_told(tmp_path):
    seen: list[tuple[int, int]] = []
    phantom.radiographs(tmp_path / "a.npz", images=2, size=32, on_progress=lambda *step: seen.append(step))
    assert seen == [(1, 2), (2, 2)]
