"""CaloShowerVAE on parametrised showers: against simple generators, and its parts on and off.

    python benchmarks/bench_showers.py metrics generator gaussian rbm pegasus parts ablation

    metrics     time of the Fréchet distance of 50,000 × 362, and its floor
    generator   showers a second, and their moments beside the parametrisation's
    gaussian    30,000 showers to train, 20,000 generated against 20,000 held out, three seeds
    rbm         the same with bits and a Boltzmann machine
    pegasus     the same with the couplings of a Pegasus graph
    parts       what draws showers, with one part of it taken away: one fit of 6,000 showers
    ablation    fits of 6,000 showers with one option changed, one seed
    table       the CaloChallenge's own results (--data FOLDER), of other showers, for scale

All use two torch threads unless --threads says otherwise. --showers FILE takes the showers of parts and
ablation from a file in the geometry of data set 2, as load_calochallenge reads it.
"""

import argparse
import csv
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from _shower_parts import PARTS
from _shower_rivals import PrincipalGaussians, mean_of_neighbours
from _showers import (
    AUC_FEATURES,
    AUC_LAYERS,
    AUC_NEIGHBOURS,
    AUC_VOXELS,
    GEOMETRY,
    HITS,
    LARGEST,
    MILLISECONDS,
    SEPARATION,
    Judge,
    ShowerSample,
    frechet,
    generated_by,
    kernel,
    layer_energies,
    milliseconds_a_shower,
)
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

import skae
from skae.datasets import CaloGeometry, load_calochallenge, make_showers
from skae.metrics import frechet_physics_distance, shower_features

COLUMNS = [
    frechet(min_samples=10_000),
    kernel(batch_size=10_000),
    AUC_FEATURES,
    AUC_VOXELS,
    SEPARATION,
    MILLISECONDS,
    LARGEST,
]

# Figures of what is compared part by part, beside the Fréchet distance.
COLUMNS_OF_PARTS = [
    AUC_FEATURES,
    AUC_NEIGHBOURS,
    AUC_LAYERS,
    SEPARATION,
    HITS,
    LARGEST,
]

PRIORS = {
    "gaussian": {},
    "rbm": {"prior": "rbm", "n_components": 96},
    "pegasus": {"prior": "rbm", "n_components": 96, "rbm_topology": "pegasus"},
}

VARIANTS = {
    "as it is": {},
    "10 epochs": {"max_epochs": 10},
    "20 epochs": {"max_epochs": 20},
    "80 epochs": {"max_epochs": 80},
    "no attention": {"attention": False},
    "one layer of all voxels": {"geometry": None},
    "unbounded": {"bounded": False},
    "logit instead of log1p": {"kind": "logit"},
    "a = 0.7, b = 0.2": {"a": 0.7, "b": 0.2},
    "a = 0.7, b = 0.2, energy weight": {"a": 0.7, "b": 0.2, "energy_weight": True},
    "bits": PRIORS["rbm"],
    "bits of a Pegasus graph": PRIORS["pegasus"],
}


def pipeline(*, kind="log1p", **options):
    """Return the Pipeline that is fitted, with defaults but for ``options``."""
    return make_pipeline(
        skae.LogRatioTransformer(kind, reference=0, threshold=GEOMETRY.threshold),
        skae.CaloShowerVAE(**{"geometry": "dataset_2", **options}),
    )


def fitted(train, **options):
    """Fit; return the model and the minutes it took."""
    model = pipeline(**options)
    begin = time.perf_counter()
    model.fit(train)
    return model, (time.perf_counter() - begin) / 60


def metrics():
    """Time the Fréchet distance."""
    half = 25_000
    features = shower_features(make_showers(4 * half, random_state=0))
    begin = time.perf_counter()
    distance = frechet_physics_distance(features[: 2 * half], features[2 * half :])
    seconds = time.perf_counter() - begin
    print(f"\nFréchet distance of 50,000 × {features.shape[1]}: {distance.value:.4f} ± "
          f"{distance.error:.4f} between showers of one generator, in {seconds:.1f} s")  # fmt: skip
    print(
        f"with a floor: {frechet_physics_distance(features[:half], features[half:], return_floor=True)}"
    )


def generator():
    """Time the generator; compare T and α of showers that nothing leaves with the parametrisation."""
    make_showers(512, random_state=0)
    times = []
    for seed in range(5):
        begin = time.perf_counter()
        make_showers(5000, random_state=seed)
        times.append(time.perf_counter() - begin)
    print(f"\n{5000 / statistics.median(times):.0f} showers a second (median of 5 × 5000)")
    deep = CaloGeometry([(0, 1e6)] * 120, [1] * 120, layer_edges=np.arange(121) * 2.1)
    depth = (np.arange(120) + 0.5) * 0.5
    print(f"  {'energy':>8s}{'⟨ln T⟩':>10s}{'expected':>10s}{'⟨ln α⟩':>10s}{'expected':>10s}")
    for energy in (1e4, 1e5, 1e6):
        voxels = make_showers(4000, energy=energy, geometry=deep, random_state=0)[:, 1:]
        weight = voxels / voxels.sum(axis=1, keepdims=True)
        mean = weight @ depth
        variance = weight @ depth**2 - mean**2
        log_y = np.log(energy / 8.2)
        t = log_y - 0.812 - 0.55 / 2.47 - 0.69 * 0.296
        alpha = 0.81 + (0.458 + 2.26 / 72.5) * log_y - 0.476 / 2.47
        print(f"  {energy / 1e3:5.0f} GeV{np.log(mean - variance / mean).mean():10.4f}{np.log(t):10.4f}"
              f"{np.log(mean**2 / variance).mean():10.4f}{np.log(alpha):10.4f}")  # fmt: skip


def generate(priors, n_train, n_judged):
    """Fit each with three seeds, and print the table."""
    print(f"\n{n_train} showers to train, {n_judged} against {n_judged} held out, "
          f"{torch.get_num_threads()} torch threads")  # fmt: skip
    train = make_showers(n_train, random_state=0)
    real, others = (make_showers(n_judged, random_state=seed) for seed in (1000, 1001))
    judge, energy = Judge(ShowerSample(real), COLUMNS), others[:, 0]
    judge.head()
    judge.row("other showers of the generator", ShowerSample(others))
    rival, rng = PrincipalGaussians(train), np.random.default_rng(0)
    for name, draw, draw_timed in (
        (
            "mean of 50 training showers",
            lambda energy: mean_of_neighbours(train, energy),
            lambda energy: mean_of_neighbours(train[:5000], energy),
        ),
        ("PCA and conditional Gaussians", *[lambda energy: rival.sample(energy, rng)] * 2),
    ):
        judge.row(name, ShowerSample(draw(energy), milliseconds_a_shower(draw_timed, energy)))
    for prior in priors:
        results = []
        for seed in range(3):
            model, minutes = fitted(train, **PRIORS[prior], random_state=seed)
            name = f"{prior}, seed {seed}, {minutes:.1f} min to fit"
            results.append(judge.row(name, generated_by(model, energy)))
        judge.medians(f"{prior}, median", results)


def few(path, n_train, n_judged):
    """Return showers to train with and a judge, parametrised ones or those of a file."""
    if path is None:
        train, real = (make_showers(n, random_state=i) for i, n in enumerate((n_train, n_judged)))
    else:
        X = load_calochallenge(path, geometry="dataset_2")
        train, real = train_test_split(X, train_size=n_train, test_size=n_judged, random_state=0)
    name = "parametrised showers" if path is None else "showers of a file"
    print(
        f"\n{n_train} {name} to train, {n_judged} to judge by, {torch.get_num_threads()} torch threads"
    )
    distance = frechet(min_samples=n_judged // 2, max_samples=n_judged)
    judge = Judge(ShowerSample(real), [distance, *COLUMNS_OF_PARTS])
    judge.head()
    judge.row("floor", ShowerSample(train[:n_judged]))
    return train, judge


def parts(path, n_train, n_judged):
    """Fit once, and draw with one part after another taken away."""
    train, judge = few(path, n_train, n_judged)
    energy = judge.real.energy
    model, _ = fitted(train, random_state=0)
    for name, without in PARTS.items():
        with without(model, train):
            judge.row(name, ShowerSample(skae.sample(model, energy, random_state=0)))
    given = layer_energies(judge.real.showers)
    drawn = skae.sample(model, energy, layer_energies=given, random_state=0)
    judge.row("energies of layers are known", ShowerSample(drawn))


def ablation(path, n_train, n_judged):
    """Fit with one option after another changed."""
    train, judge = few(path, n_train, n_judged)
    for name, options in VARIANTS.items():
        model, minutes = fitted(train, **options, random_state=0)
        drawn = skae.sample(model, judge.real.energy, random_state=0)
        judge.row(f"{name}, {minutes:.1f} min", ShowerSample(drawn))


def table(folder):
    """Print the CaloChallenge's results: Geant4's showers, so for scale alone."""
    print(
        "\nCaloChallenge, data set 2 (Geant4's showers; FPD and KPD × 10³, of the challenge's features)"
    )
    with Path(folder, "results_ds2.csv").open() as file:
        for row in csv.DictReader(file):
            print(f"  {row['submission']:24s} FPD {float(row['FPD * 1e3']):8.1f}  KPD "
                  f"{float(row['KPD * 1e3']):7.3f}  AUC features {float(row['binary cls high']):.3f}  "
                  f"CPU, batch of 100: {float(row['time CPU 100']):10.2f} ms")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ("metrics", "generator", *PRIORS, "parts", "ablation", "table")
    parser.add_argument("what", nargs="*", choices=names, default=["metrics", "generator"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--train", type=int, help="30,000, or 6,000 of parts and ablation")
    parser.add_argument("--judged", type=int, help="20,000, or 6,000 of parts and ablation")
    parser.add_argument("--showers", help="file of showers for parts and ablation")
    parser.add_argument("--data", help="folder with the CaloChallenge's tables")
    arguments = parser.parse_args()
    if "table" in arguments.what and arguments.data is None:
        parser.error("table needs --data FOLDER")
    torch.set_num_threads(arguments.threads)
    if "metrics" in arguments.what:
        metrics()
    if "generator" in arguments.what:
        generator()
    if priors := [prior for prior in PRIORS if prior in arguments.what]:
        generate(priors, arguments.train or 30_000, arguments.judged or 20_000)
    sizes = arguments.train or 6000, arguments.judged or 6000
    if "parts" in arguments.what:
        parts(arguments.showers, *sizes)
    if "ablation" in arguments.what:
        ablation(arguments.showers, *sizes)
    if "table" in arguments.what:
        table(arguments.data)


if __name__ == "__main__":
    main()
