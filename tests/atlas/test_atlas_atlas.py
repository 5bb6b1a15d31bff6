"""The atlas: its table, its file, and that other tools open it."""

import warnings

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zatlas.atlas.atlas import Atlas
from zatlas.errors import DataError, FileAccessError, UsageError, WriteError


def made(n=60, d=4, seed=0, **labels):
    rng = np.random.default_rng(seed)
    rows = np.arange(n)
    table = pd.DataFrame({
        "image": [f"B0{row % 2 + 1}/{row // 4:04d}" for row in rows],
        "image_row": rows // 4,
        "group": [f"B0{row % 2 + 1}" for row in rows],
        "split": np.where(rows % 5 == 0, "test", "train"),
        "y_px": rows % 4 * 32,
        "x_px": np.zeros(n, np.int64),
        "size_px": np.full(n, 64),
        "distortion_nats": rng.normal(size=n).astype(np.float32),
        "rate_nats": rng.normal(size=n).astype(np.float32),
        "psnr_db": rng.normal(size=n).astype(np.float32),
        **labels,
    })  # fmt: skip
    return Atlas(rng.normal(size=(n, d)) + 6 * (rows[:, None] % 3 == 0), rng.normal(size=(n, d)), table)


def labels(n=60):
    rng = np.random.default_rng(1)
    rows = np.arange(n)
    return {
        "diagnosis": np.where(rows % 3 == 0, np.array(["pneumonia"]), np.array(["Straße 7; 日本"])).astype(object),
        "sublabel": pd.Series(["virus", np.nan, "", "bacteria"] * (n // 4), dtype=object),
        "age": np.where(rows % 7 == 0, np.nan, rng.normal(50, 20, n)),
        "index": rows,
        "is_blank": rows % 2 == 0,
        "stage": pd.Categorical.from_codes(rows % 4 - 1, ["late", "early", "none"], ordered=True),
        "grade": pd.Categorical(rows % 3),
        "score": pd.array([1, None, 3, 4] * (n // 4), dtype="Int64"),
        "agrees": pd.array([True, None, False, True] * (n // 4), dtype="boolean"),
        "weight/kg": rng.normal(size=n).astype(np.float32),
        "weight_kg": rng.normal(size=n),
        "_index": rows * 2,
        "nothing": np.full(n, np.nan),
        "no text": pd.Series([np.nan] * n, dtype=object),
        "seen": pd.to_datetime(["2024-05-01", None, "2024-05-02", "2025-01-01"] * (n // 4)),
    }


def assert_same(a, b):
    np.testing.assert_array_equal(a.mean, b.mean)
    np.testing.assert_array_equal(a.log_var, b.log_var)
    assert a.mean.dtype == b.mean.dtype == np.float32
    pd.testing.assert_frame_equal(a.table, b.table)
    assert list(a.projections) == list(b.projections)
    for name in a.projections:
        np.testing.assert_array_equal(a.projections[name], b.projections[name])
    assert a.info == b.info


def test_a_saved_atlas_is_read_back_equal_with_every_kind_of_label(tmp_path):
    atlas = made(**labels())
    atlas.pca()
    atlas.kmeans(3)
    atlas.tsne()
    atlas.info.update(model="z4", seed=0, chosen=None, nested={"a": [1, 2.5, "x"], "yes": True})
    path = atlas.save(tmp_path / "z4.h5ad")
    again = Atlas.load(path)
    assert_same(atlas, again)
    assert list(tmp_path.iterdir()) == [path]
    assert_same(again, Atlas.load(again.save(tmp_path / "again.h5ad")))


def test_equal_atlases_give_equal_bytes(tmp_path):
    first, second = made(**labels()), made(**labels())
    first.pca()
    second.pca()
    assert first.save(tmp_path / "a.h5ad").read_bytes() == second.save(tmp_path / "b.h5ad").read_bytes()


@settings(max_examples=30, deadline=None)
@given(
    names=st.lists(st.text(max_size=6), unique=True, max_size=4),
    values=st.lists(st.one_of(st.none(), st.text(max_size=5)), min_size=5, max_size=5),
)
def test_any_text_survives(tmp_path_factory, names, values):
    def is_legal(text):
        return "\0" not in text and text.encode("utf-8", "ignore").decode() == text

    column = pd.Series([np.nan if v is None or not is_legal(v) else v for v in values], dtype=object)
    table = pd.DataFrame({name: column for name in names if is_legal(name)}, index=range(5))
    atlas = Atlas(np.zeros((5, 2)), np.zeros((5, 2)), table)
    path = atlas.save(tmp_path_factory.mktemp("atlas") / "a.h5ad")
    pd.testing.assert_frame_equal(Atlas.load(path).table, atlas.table, check_column_type=False)


def test_the_file_has_the_keys_that_others_look_for(tmp_path):
    atlas = made(age=np.arange(60.0))
    atlas.pca()
    atlas.tsne()
    atlas.kmeans(3)
    adata = anndata.read_h5ad(atlas.save(tmp_path / "z4.h5ad"))
    assert adata.shape == (60, 4)
    assert adata.X.dtype == np.float32
    np.testing.assert_array_equal(adata.X, atlas.mean)
    np.testing.assert_array_equal(adata.layers["log_var"], atlas.log_var)
    assert set(adata.obsm) == {"X_pca", "X_tsne", "spatial"}
    assert adata.obsm["X_pca"].shape == (60, 4)
    assert adata.obsm["X_tsne"].shape == (60, 2)
    expected = {"image", "group", "split", "y_px", "x_px", "distortion_nats", "rate_nats", "cluster", "age"}
    assert expected <= set(adata.obs)
    assert adata.obs["cluster"].cat.categories.tolist() == ["0", "1", "2"]
    assert adata.obs_names.is_unique
    assert adata.obs_names[5] == "B02/0001_y32_x0"
    assert adata.var_names.tolist() == ["z0", "z1", "z2", "z3"]
    assert adata.uns["zatlas"]["schema_version"] == 1
    # Centre of the tile at (y, x) = (32, 0), 64 px wide: x before y.
    assert adata.obsm["spatial"][5].tolist() == [32, 64]


@pytest.fixture
def scanpy():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield pytest.importorskip("scanpy")


def test_scanpy_opens_it_and_zatlas_opens_what_scanpy_wrote(tmp_path, scanpy):
    atlas = made(diagnosis=["a", "b", np.nan] * 20)
    atlas.pca()
    atlas.kmeans(3)
    adata = scanpy.read_h5ad(atlas.save(tmp_path / "z4.h5ad"))
    scanpy.pp.neighbors(adata, n_neighbors=5, use_rep="X_pca", method="gauss")
    assert adata.obsp["connectivities"].shape == (60, 60)
    adata.write_h5ad(tmp_path / "by scanpy.h5ad")
    assert_same(atlas, Atlas.load(tmp_path / "by scanpy.h5ad"))


@pytest.mark.slow  # compiles UMAP's graph for half a minute
def test_scanpy_finds_neighbours_as_it_does_by_default(tmp_path, scanpy):
    adata = scanpy.read_h5ad(made().save(tmp_path / "z4.h5ad"))
    scanpy.pp.neighbors(adata)
    assert adata.obsp["connectivities"].shape == (60, 60)


def test_columns_added_by_other_tools_are_kept(tmp_path):
    adata = made().to_anndata()
    adata.obs["leiden"] = pd.Categorical(["0", "1"] * 30)
    adata.obsm["X_umap"] = np.ones((60, 2))
    adata.obsp["distances"] = np.eye(60)
    again = Atlas.from_anndata(adata)
    assert again.labels == ("leiden",)
    assert again.projections["umap"].shape == (60, 2)


def test_labels_and_groups():
    atlas = made(age=np.zeros(60))
    assert atlas.labels == ("age",)
    assert atlas.groups == ("B01", "B02")
    assert len(atlas) == 60
    assert atlas.latent_dim == 4
    atlas.pca()
    atlas.kmeans(2)
    assert "60 images or tiles in 4 latent dimensions" in repr(atlas)
    assert "made: pca, 2 regions" in repr(atlas)
    assert Atlas(np.zeros((2, 1)), np.zeros((2, 1)), pd.DataFrame(index=[5, 6])).groups == ()


def test_maps_regions_and_neighbours_say_how_they_were_made():
    atlas = made()
    pca = atlas.pca()
    np.testing.assert_allclose(atlas.projections["pca"], pca.transform(atlas.mean), atol=1e-5)
    assert sum(atlas.info["pca"]["explained_ratio"]) == pytest.approx(1)
    assert atlas.pca(2).components.shape == (2, 4)
    assert atlas.projections["pca"].shape == (60, 2)
    atlas.tsne(seed=2)
    assert atlas.info["tsne"]["perplexity"] == 20
    assert 0 < atlas.info["tsne"]["trustworthiness"] <= 1
    found = atlas.kmeans(0, seed=1)
    np.testing.assert_array_equal(atlas.cluster, found.labels)
    assert atlas.info["clusters"]["verdict"] == found.verdict
    assert sum(m.size for m in atlas.members(3)) == 60
    rows, distances = atlas.neighbours(4)
    assert rows.shape == distances.shape == (60, 4)
    assert (np.diff(distances, axis=1) >= 0).all()


def test_regions_are_asked_for_before_they_are_used():
    with pytest.raises(UsageError, match=r"no regions yet\nhint: call atlas.kmeans"):
        made().members()


def test_a_part_of_an_atlas():
    atlas = made()
    atlas.pca()
    part = atlas.select(np.flatnonzero(atlas.table["split"] == "test"))
    assert len(part) == 12
    assert part.table.index.tolist() == list(range(12))
    np.testing.assert_array_equal(part.projections["pca"], atlas.projections["pca"][::5])


def test_paths_run_between_real_images():
    atlas = made()
    walk = atlas.path("PC1", points=7)
    assert walk.z.shape == (9, 4)
    np.testing.assert_array_equal(walk.z[0], atlas.mean[atlas.projections["pca"][:, 0].argmin()])
    pair = atlas.path((3, 8), points=2, kind="spherical")
    np.testing.assert_array_equal(pair.z[[0, -1]], atlas.mean[[3, 8]])


def test_parts_that_do_not_belong_together_are_refused():
    with pytest.raises(DataError, match="do not belong together"):
        Atlas(np.zeros((3, 2)), np.zeros((3, 1)), pd.DataFrame(index=range(3)))
    with pytest.raises(DataError, match="table has 4 rows, expected 3"):
        Atlas(np.zeros((3, 2)), np.zeros((3, 2)), pd.DataFrame(index=range(4)))
    with pytest.raises(DataError, match="pca has 2 rows, expected 3"):
        Atlas(np.zeros((3, 2)), np.zeros((3, 2)), pd.DataFrame(index=range(3)), projections={"pca": np.zeros((2, 2))})


def test_files_that_are_no_atlas_are_refused(tmp_path):
    with pytest.raises(FileAccessError, match=r"there is no atlas none\.h5ad"):
        Atlas.load(tmp_path / "none.h5ad")
    (tmp_path / "text.h5ad").write_text("not HDF5")
    with pytest.raises(DataError, match=r"text\.h5ad is damaged or not an \.h5ad file"):
        Atlas.load(tmp_path / "text.h5ad")
    path = made().save(tmp_path / "cut.h5ad")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"cut\.h5ad is damaged"):
        Atlas.load(path)
    with h5py.File(tmp_path / "other.h5ad", "w") as file:
        file["x"] = [1.0]
    with pytest.raises(DataError, match=r"other\.h5ad is damaged .*: it is an HDF5 file of another kind"):
        Atlas.load(tmp_path / "other.h5ad")
    anndata.AnnData(np.zeros((2, 2), np.float32)).write_h5ad(tmp_path / "foreign.h5ad")
    with pytest.raises(DataError, match="this AnnData is not an atlas of zatlas"):
        Atlas.load(tmp_path / "foreign.h5ad")
    adata = made().to_anndata()
    adata.uns["zatlas"]["schema_version"] = 99
    with pytest.raises(DataError, match="made by a newer zatlas\nhint: update zatlas"):
        Atlas.from_anndata(adata)


def test_a_folder_that_is_not_there_is_reported_and_nothing_is_left(tmp_path):
    with pytest.raises(WriteError, match=r"cannot write z4.h5ad"):
        made().save(tmp_path / "nowhere" / "z4.h5ad")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = made().save(tmp_path / "z4.h5ad")
    before = path.read_bytes()

    def fail(self, target):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(anndata.AnnData, "write_h5ad", fail)
    with pytest.raises(WriteError, match="free some space"):
        made(seed=1).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
