"""One contestant of analysis.py in a process of its own: analysis_worker.py STEP CONTESTANT N D SEED LIMIT_S OUT.npz

Prints one JSON object: seconds of the step itself (imports and a warm-up of compiled code are not in it) and what the
step says about itself. The arrays it made go to OUT.npz and are judged by the caller. After LIMIT_S seconds it gives up
and says so.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
from analysis_points import latents, pictures

Answer = tuple[dict[str, float], dict[str, np.ndarray]]
K_MEANS = 8


def tsne_sklearn(points: np.ndarray, seed: int) -> Answer:
    from sklearn.manifold import TSNE

    model = TSNE(perplexity=30, init=_start(points), learning_rate="auto", n_jobs=1, random_state=seed)
    mapped = model.fit_transform(points)
    return {"kl": float(model.kl_divergence_)}, {"map": mapped}


def tsne_open(points: np.ndarray, seed: int, *, neighbours: str, gradient: str) -> Answer:
    from openTSNE import TSNE

    model = TSNE(
        perplexity=30, initialization=_start(points), n_jobs=1, random_state=seed, neighbors=neighbours,
        negative_gradient_method=gradient,
    )  # fmt: skip
    mapped = model.fit(points)
    return {"kl": float(mapped.kl_divergence)}, {"map": np.asarray(mapped)}


def _start(points: np.ndarray) -> np.ndarray:
    centred = points - points.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov(centred, rowvar=False))
    start = centred @ vectors[:, :-3:-1]
    return np.asarray(start / start[:, 0].std() * 1e-4, np.float64)


def near_sklearn(points: np.ndarray, k: int, *, algorithm: str) -> Answer:
    import sklearn
    from sklearn.neighbors import NearestNeighbors

    with sklearn.config_context(working_memory=128):
        rows = NearestNeighbors(n_neighbors=k, algorithm=algorithm).fit(points).kneighbors(return_distance=False)
    return {}, {"rows": rows}


def near_pynndescent(points: np.ndarray, k: int, seed: int) -> Answer:
    from pynndescent import NNDescent

    rows, _ = NNDescent(points, n_neighbors=k + 1, random_state=seed, n_jobs=1).neighbor_graph
    return {}, {"rows": rows[:, 1:]}


def near_faiss(points: np.ndarray, k: int, *, index: str) -> Answer:
    import faiss

    n, d = points.shape
    lists = int(4 * np.sqrt(n))
    made = faiss.index_factory(d, {"flat": "Flat", "ivf": f"IVF{lists},Flat", "hnsw": "HNSW32"}[index])
    if index == "ivf":
        made.nprobe = max(1, lists // 20)
    if index == "hnsw":
        made.hnsw.efSearch = max(64, 2 * k)
    made.train(points)
    made.add(points)
    _, rows = made.search(points, k + 1)
    return {}, {"rows": _without_itself(rows)}


def _without_itself(rows: np.ndarray) -> np.ndarray:
    """Each row's own number taken out; the last one where it is not there."""
    is_own = rows == np.arange(len(rows))[:, None]
    is_own[~is_own.any(axis=1), -1] = True
    return rows[~is_own].reshape(len(rows), -1)


def kmeans_sklearn(points: np.ndarray, seed: int) -> Answer:
    from sklearn.cluster import KMeans

    model = KMeans(K_MEANS, n_init=10, random_state=seed).fit(points.astype(np.float64))
    return {"inertia": float(model.inertia_)}, {}


def kmeans_batches(points: np.ndarray, seed: int, *, batch: int) -> Answer:
    from sklearn.cluster import MiniBatchKMeans

    points = points.astype(np.float64)
    model = MiniBatchKMeans(K_MEANS, n_init=10, batch_size=batch, random_state=seed).fit(points)
    return {"inertia": _inertia(points, model.cluster_centers_)}, {}


def kmeans_sample(points: np.ndarray, seed: int) -> Answer:
    """The best of 10 starts on 20 000 points, then Lloyd's steps from there on all points."""
    from sklearn.cluster import KMeans

    points = points.astype(np.float64)
    rows = np.random.default_rng(seed).choice(len(points), min(len(points), 20_000), replace=False)
    first = KMeans(K_MEANS, n_init=10, random_state=seed).fit(points[rows])
    model = KMeans(K_MEANS, init=first.cluster_centers_, n_init=1).fit(points)
    return {"inertia": float(model.inertia_)}, {}


def kmeans_faiss(points: np.ndarray, seed: int) -> Answer:
    import faiss

    model = faiss.Kmeans(points.shape[1], K_MEANS, niter=100, nredo=10, seed=seed, max_points_per_centroid=10**9)
    model.train(points)
    return {"inertia": _inertia(points.astype(np.float64), model.centroids.astype(np.float64))}, {}


def _inertia(points: np.ndarray, centres: np.ndarray) -> float:
    squares = (points**2).sum(axis=1)[:, None] - 2 * points @ centres.T + (centres**2).sum(axis=1)
    return float(squares.min(axis=1).clip(0).sum())


def pca_svd(points: np.ndarray) -> Answer:
    points = points.astype(np.float64)
    _, singular, vectors = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    return {}, {"variance": singular**2 / (len(points) - 1), "components": vectors}


def pca_covariance(points: np.ndarray) -> Answer:
    points = points.astype(np.float64)
    centred = points - points.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    return {}, {"variance": values[::-1] / (len(points) - 1), "components": vectors[:, ::-1].T}


def pca_sklearn(points: np.ndarray, *, solver: str, components: int | None = None) -> Answer:
    from sklearn.decomposition import PCA

    model = PCA(components, svd_solver=solver, random_state=0).fit(points.astype(np.float64))
    return {}, {"variance": model.explained_variance_, "components": model.components_}


def pixels_gram(images: np.ndarray) -> Answer:
    flat = images.reshape(len(images), -1)
    flat = flat - flat.mean(axis=0)
    values, vectors = np.linalg.eigh(flat @ flat.T)
    scaled = vectors[:, :-17:-1] / np.sqrt(values[:-17:-1])
    return {}, {"variance": values[:-17:-1] / (len(flat) - 1), "components": scaled.T @ flat}


def pixels_sklearn(images: np.ndarray, *, solver: str) -> Answer:
    from sklearn.decomposition import PCA

    model = PCA(16, svd_solver=solver, random_state=0).fit(images.reshape(len(images), -1))
    return {}, {"variance": model.explained_variance_, "components": model.components_}


def of_zatlas(step: str, points: np.ndarray, seed: int) -> Answer:
    """What zatlas itself does with these points."""
    from zatlas.atlas import clusters, neighbours, projections

    if step == "tsne":
        made = projections.tsne(points, seed=seed)
        return {"kl": made.facts["kl_divergence"]}, {"map": made.points}
    if step in ("near15", "near90"):
        return {}, {"rows": neighbours.nearest_neighbours(points, int(step[4:]))[0]}
    if step == "kmeans":
        found = clusters.kmeans(points, K_MEANS, seed=seed)
        return {"inertia": _inertia(points.astype(np.float64), found.centroids)}, {}
    pca = projections.fit_pca(points)
    return {}, {"variance": pca.variance, "components": pca.components}


def contestants(step: str, points: np.ndarray, seed: int) -> dict[str, Callable[[], Answer]]:
    """The contestants of a step by name, in the order of their turns."""
    if step == "tsne":
        return {
            "scikit-learn": lambda: tsne_sklearn(points, seed),
            "openTSNE fft exact": lambda: tsne_open(points, seed, neighbours="exact", gradient="fft"),
            "openTSNE fft annoy": lambda: tsne_open(points, seed, neighbours="annoy", gradient="fft"),
            "openTSNE fft pynndescent": lambda: tsne_open(points, seed, neighbours="pynndescent", gradient="fft"),
            "openTSNE bh exact": lambda: tsne_open(points, seed, neighbours="exact", gradient="bh"),
            "zatlas": lambda: of_zatlas(step, points, seed),
        }
    if step in ("near15", "near90"):
        k = int(step[4:])
        return {
            "scikit-learn brute": lambda: near_sklearn(points, k, algorithm="brute"),
            "scikit-learn kd-tree": lambda: near_sklearn(points, k, algorithm="kd_tree"),
            "scikit-learn ball-tree": lambda: near_sklearn(points, k, algorithm="ball_tree"),
            "faiss flat": lambda: near_faiss(points, k, index="flat"),
            "faiss ivf": lambda: near_faiss(points, k, index="ivf"),
            "faiss hnsw": lambda: near_faiss(points, k, index="hnsw"),
            "pynndescent": lambda: near_pynndescent(points, k, seed),
            "zatlas": lambda: of_zatlas(step, points, seed),
        }
    if step == "kmeans":
        return {
            "scikit-learn": lambda: kmeans_sklearn(points, seed),
            "MiniBatch 1024": lambda: kmeans_batches(points, seed, batch=1024),
            "MiniBatch 10000": lambda: kmeans_batches(points, seed, batch=10_000),
            "sample then all": lambda: kmeans_sample(points, seed),
            "faiss": lambda: kmeans_faiss(points, seed),
            "zatlas with verdict": lambda: of_zatlas(step, points, seed),
        }
    if step == "pca":
        return {
            "svd": lambda: pca_svd(points),
            "covariance": lambda: pca_covariance(points),
            "scikit-learn covariance_eigh": lambda: pca_sklearn(points, solver="covariance_eigh"),
            "scikit-learn randomized, 8": lambda: pca_sklearn(points, solver="randomized", components=8),
            "zatlas": lambda: of_zatlas(step, points, seed),
        }
    return {
        "svd": lambda: pixels_sklearn(points, solver="full"),
        "gram": lambda: pixels_gram(points),
        "scikit-learn randomized": lambda: pixels_sklearn(points, solver="randomized"),
    }


def main() -> None:
    """Run one contestant."""
    step, name, n, d, seed, limit, out = sys.argv[1:]
    threading.Thread(target=_give_up, args=(float(limit),), daemon=True).start()
    make = pictures if step == "pixels" else latents
    if step == "near15" or step == "near90" or "pynndescent" in name:  # imports, and compiling on the first call
        contestants(step, make(1000, int(d), 1), int(seed))[name]()
    else:
        contestants(step, make(100, int(d), 1), int(seed))[name]()
    points = make(int(n), int(d), int(seed))
    begin, cpu = time.perf_counter(), time.process_time()
    said, arrays = contestants(step, points, int(seed))[name]()
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu
    np.savez(out, **arrays)  # type: ignore[arg-type]
    print(json.dumps({"step_s": seconds, "step_cpu_s": cpu_seconds, **said}))


def _give_up(limit: float) -> None:
    time.sleep(limit)
    print(json.dumps({"gave_up_after_s": limit}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
