"""CaloShowerVAE in other calorimeters: layers that differ, and six times as many voxels.

    python benchmarks/bench_calorimeters.py photons fine

    photons     parametrised showers in the calorimeter of data set 1's photons, 368 voxels: with its
                geometry, and as one layer; 10,000 to train, 10,000 held out, three seeds
    fine        data set 3's calorimeter, 40,500 voxels, beside data set 2's, 6,480: seconds of an epoch
                of 5,000 showers, milliseconds of a shower that is drawn, and the most memory held

All use two torch threads unless --threads says otherwise.
"""

import argparse
import multiprocessing
import resource
import statistics
import time

import torch
from sklearn.pipeline import make_pipeline

import skae
from skae.datasets import CaloGeometry, make_showers
from skae.metrics import classifier_two_sample_test, frechet_physics_distance, shower_features

PHOTONS = CaloGeometry.named("dataset_1_photons")


def pipeline(threshold, **options):
    """Return the Pipeline that is fitted."""
    return make_pipeline(
        skae.LogRatioTransformer("log1p", reference=0, threshold=threshold),
        skae.CaloShowerVAE(**options),
    )


def photons(n_showers):
    """Fit with the geometry and without it, and print distances of features."""
    energy = 256.0, 4.2e6
    train, real, others = (
        make_showers(n_showers, energy=energy, geometry=PHOTONS, random_state=seed)
        for seed in range(3)
    )
    print(f"\n{n_showers} parametrised showers in data set 1's photon calorimeter to train, as many held "
          f"out, {torch.get_num_threads()} torch threads")  # fmt: skip
    print(f"  {'':34s}{'FPD':>9s}{'AUC':>9s}")

    def row(name, showers):
        pair = [shower_features(part, geometry=PHOTONS) for part in (real, showers)]
        sizes = {"min_samples": n_showers // 2, "max_samples": n_showers}
        distance = frechet_physics_distance(*pair, **sizes).value
        auc = classifier_two_sample_test(*pair, random_state=0).auc
        print(f"  {name:34s}{distance:9.4f}{auc:9.3f}", flush=True)
        return distance, auc

    row("other showers of the generator", others)
    for name, options in (("layers as they are", {"geometry": PHOTONS}), ("one layer", {})):
        figures = []
        for seed in range(3):
            model = pipeline(PHOTONS.threshold, random_state=seed, **options)
            begin = time.perf_counter()
            model.fit(train)
            minutes = (time.perf_counter() - begin) / 60
            drawn = skae.sample(model, others[:, 0], random_state=0)
            figures.append(row(f"{name}, seed {seed}, {minutes:.1f} min to fit", drawn))
        distance, auc = (statistics.median(part) for part in zip(*figures, strict=True))
        print(f"  {name + ', median':34s}{distance:9.4f}{auc:9.3f}", flush=True)


def fine(name, n_showers, threads):
    """Train for two epochs, draw, and print what it takes; in a process of its own, for its memory."""
    torch.set_num_threads(threads)
    geometry = CaloGeometry.named(name)
    X = make_showers(n_showers, geometry=geometry, random_state=0)
    model = pipeline(geometry.threshold, geometry=geometry, max_epochs=2, random_state=0).fit(X)
    times = []
    for start in range(0, 600, 100):
        begin = time.perf_counter()
        skae.sample(model, X[start : start + 100, 0], random_state=0)
        times.append(time.perf_counter() - begin)
    epoch, drawn = model[-1].history_[-1]["dur"], statistics.median(times[1:]) * 10
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    per_voxel = 1e3 * drawn / geometry.n_voxels
    print(f"  {name:12s}{geometry.n_voxels:9d} voxels{epoch:9.1f} s an epoch{drawn:9.2f} ms a shower"
          f"{per_voxel:9.3f} µs a voxel{most:8.1f} GiB at most, {X.nbytes / 2**30:.1f} of them "
          "showers", flush=True)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ("photons", "fine")
    parser.add_argument("what", nargs="*", choices=names, default=names)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--showers", type=int, help="10,000 photons, 5,000 in the fine calorimeter")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if "photons" in options.what:
        photons(options.showers or 10_000)
    if "fine" in options.what:
        n_showers = options.showers or 5000
        print(f"\n{n_showers} showers, two epochs, {options.threads} torch threads")
        spawn = multiprocessing.get_context("spawn")
        for name in ("dataset_2", "dataset_3"):
            process = spawn.Process(target=fine, args=(name, n_showers, options.threads))
            process.start()
            process.join()


if __name__ == "__main__":
    main()
