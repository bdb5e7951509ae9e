"""CaloShowerVAE on a detector's own simulation: beside simple generators, and its two stages apart.

    python benchmarks/bench_geant4.py --data FILE [--only floor model] [--copying] [--pictures FOLDER]

FILE has showers of electrons in the geometry of data set 2, 18,000 of them say, as load_calochallenge
reads it. 12,000 train, half as many others judge, and showers are generated at their energies. Rows:

    floor       training showers themselves, which are of the distribution that judges
    memory      other training showers as they are, what a generator hands out that knows them by heart
    nearest     to each energy its own nearest training shower, rescaled
    gaussians   principal components and Gaussians, conditional on the energy
    model       CaloShowerVAE, each seed, and the median of each figure
    layers      energies of layers that the model generated, on the voxels of training showers
    voxels      voxels that the model generated, at energies of layers of training showers

FPD and KPD are of features; "AUC features" and "AUC voxels" of a network, "AUC neighbours" and "AUC
layers" of trees; "separation" is that of E_tot/E_inc from 0.5 to 1.5, "of hits" that of the number of lit
voxels of a layer, the mean over layers. --copying asks whether the model repeats training showers, and
what it makes of energies that it never saw. --only --copying asks nothing else. --pictures FOLDER draws
what the first seed generated beside what judges it.
"""

import argparse
import pathlib
import time

import matplotlib.pyplot as plt
import numpy as np
import torch
from _shower_copies import distances_to_nearest, n_distinct, share_of_copies
from _shower_details import BANDS, details_of, is_between, print_details, ratio_of_widths
from _shower_rivals import PrincipalGaussians, nearest_unused, on_voxels_of, rescaled
from _showers import (
    AUC_FEATURES,
    AUC_LAYERS,
    AUC_NEIGHBOURS,
    AUC_VOXELS,
    GEOMETRY,
    HITS,
    MILLISECONDS,
    SEPARATION,
    Judge,
    ShowerSample,
    frechet,
    generated_by,
    kernel,
    layer_energies,
    medians,
    milliseconds_a_shower,
    told_apart_by_trees,
)
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

import skae
from skae.datasets import load_calochallenge
from skae.metrics import shower_response
from skae.plotting import NeighbourCorrelationDisplay, ShowerDisplay

ROWS = ("floor", "memory", "nearest", "gaussians", "model", "layers", "voxels")
STAGES = {"model", "layers", "voxels"}
GAP = (8e3, 1.2e4)  # MeV
N_DRAWS = 5  # generated for each shower that judges, where widths are compared


def read(path, n_train):
    """Return showers to train with, and half as many others to judge by."""
    X = load_calochallenge(path, geometry="dataset_2")
    train, rest = train_test_split(X, train_size=n_train, random_state=0)
    return train, rest[: n_train // 2]


def fitted(train, seed, epochs):
    """Fit the model as it comes; return it, and the minutes it took."""
    options = {} if epochs is None else {"max_epochs": epochs}
    model = make_pipeline(
        skae.LogRatioTransformer("log1p", reference=0, threshold=GEOMETRY.threshold),
        skae.CaloShowerVAE(geometry="dataset_2", random_state=seed, **options),
    )
    begin = time.perf_counter()
    model.fit(train)
    return model, (time.perf_counter() - begin) / 60


def voxels_for(model, showers):
    """Return showers that the model generates at the energies, and energies of layers, of others."""
    given = layer_energies(showers)
    return skae.sample(model, showers[:, 0], layer_energies=given, random_state=0)


def responses_of(model, energy, seeds):
    """Return E_tot/E_inc of showers drawn with each of the seeds: (n_seeds, n)."""
    drawn = (skae.sample(model, energy, random_state=seed) for seed in seeds)
    return np.stack([shower_response(showers) for showers in drawn])


class Report:
    """The table, and what is printed of some of its rows in the end.

    Parameters
    ----------
    judged : ndarray of shape (n, 1 + n_voxels)
        Showers that judge.
    """

    def __init__(self, judged):
        n = len(judged)
        columns = [
            frechet(min_samples=min(3000, n // 2), max_samples=min(6000, n)),
            kernel(batch_size=min(5000, n)),
            AUC_FEATURES,
            AUC_VOXELS,
            AUC_NEIGHBOURS,
            AUC_LAYERS,
            SEPARATION,
            HITS,
            MILLISECONDS,
        ]
        self.real = ShowerSample(judged)
        self.judge = Judge(self.real, columns)
        self.details = {}  # by the row's label
        self.of_seeds = {}  # labels and figures, by name
        self.judge.head()

    def row(self, label, generated):
        """Print a row."""
        return self.judge.row(label, generated)

    def detailed_row(self, label, generated, more_responses=()):
        """Print a row, and keep its details for later."""
        figures = self.row(label, generated)
        self.details[label] = details_of(self.real, generated, more_responses)
        return figures

    def row_of_seed(self, name, label, generated, more_responses=()):
        """Print a row that has others beside it, of other seeds."""
        figures = self.detailed_row(label, generated, more_responses)
        self.of_seeds.setdefault(name, []).append((label, figures))

    def finish(self):
        """Print medians over seeds, then the details."""
        for name, rows in self.of_seeds.items():
            labels, figures = zip(*rows, strict=True)
            self.judge.medians(f"{name}, median", figures)
            self.details[f"{name}, median"] = medians([self.details[label] for label in labels])
        if self.details:
            print_details(self.real, self.details)


def rivals(report, only, train):
    """Print the rows without a network."""
    energy = report.real.energy
    if "floor" in only:
        report.detailed_row("floor", ShowerSample(train[: len(energy)]))
    if "memory" in only:
        report.row("training showers from memory", ShowerSample(train[-len(energy) :]))
    if "nearest" in only:
        nearest = train[nearest_unused(energy, train[:, 0])]
        drawn = rescaled(nearest, energy, GEOMETRY.threshold)
        report.row("nearest training showers, rescaled", ShowerSample(drawn))
    if "gaussians" in only:
        rival = PrincipalGaussians(train)
        rng = np.random.default_rng(0)
        drawn = rival.sample(energy, rng)
        milliseconds = milliseconds_a_shower(lambda energy: rival.sample(energy, rng), energy)
        report.row("PCA and conditional Gaussians", ShowerSample(drawn, milliseconds))


def stages(report, only, train, seed, model, minutes):
    """Print the rows of a model: all of it, and each of its stages with the other from training."""
    energy = report.real.energy
    chosen = nearest_unused(energy, train[:, 0])
    if {"model", "layers"} & set(only):
        drawn = generated_by(model, energy)
        more = responses_of(model, energy, range(1, N_DRAWS))
    if "model" in only:
        report.row_of_seed("model", f"model, seed {seed}, {minutes:.1f} min to fit", drawn, more)
    if "layers" in only:  # whose totals are the model's
        showers = on_voxels_of(train, chosen, energy, drawn.layers, GEOMETRY)
        report.row_of_seed("its layers", f"its layers, seed {seed}", ShowerSample(showers), more)
    if "voxels" in only:
        showers = voxels_for(model, train[chosen])
        report.row_of_seed("its voxels", f"its voxels, seed {seed}", ShowerSample(showers))


def draw(judged, model, folder):
    """Save pictures of showers that the model generates, beside those that judge it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, display in (("showers", ShowerDisplay), ("neighbours", NeighbourCorrelationDisplay)):
        drawn = display.from_estimator(
            model, judged, geometry="dataset_2", random_state=0, labels=("Geant4", "generated")
        )
        drawn.figure_.savefig(folder / f"geant4-{name}.png", dpi=90)
        plt.close(drawn.figure_)


def copying(train, judged, model, epochs):
    """Print whether a model repeats showers, and what one makes of energies that it never saw."""
    drawn = skae.sample(model, judged[:, 0], random_state=0)
    print_copies(train, judged, drawn)
    print_gap(train, judged, model, epochs)
    showers = skae.sample(model, np.full(5000, 1e4, dtype=np.float32), random_state=0)
    print(f"{n_distinct(showers)} of {len(showers)} showers of exactly 10 GeV are distinct")


def print_copies(train, judged, drawn):
    """Print how many showers are nearer to a training shower than nearly all held-out ones."""
    handed_out = train[-len(judged) :]
    held_out = distances_to_nearest(judged, train)
    print("\nShare of showers nearer to a training shower than 1 % of the held-out ones are, by log(1 + "
          "voxel/MeV), among\nthe 200 next in energy: at most 2 % is asked of the model. All, then from "
          "1, 3, 10 and 30 GeV on by held-out ones of there")  # fmt: skip
    bands = [(0.0, np.inf), *BANDS]
    for name, showers in (("model", drawn), ("training showers from memory", handed_out)):
        distances = distances_to_nearest(showers, train)
        shares = [
            share_of_copies(
                distances[is_between(showers[:, 0], *band)],
                held_out[is_between(judged[:, 0], *band)],
            )
            for band in bands
        ]
        print(f"{name:34s}" + "".join(f"{100 * share:9.2f} %" for share in shares), flush=True)


def print_gap(train, judged, model, epochs):
    """Print what a fit that saw no energies of a band generates there, beside one that did."""
    without, _ = fitted(train[~is_between(train[:, 0], *GAP)], 0, epochs)
    real = ShowerSample(judged[is_between(judged[:, 0], *GAP)])
    print(f"\nAt {len(real.energy)} energies from 8 to 12 GeV, {N_DRAWS} showers each: generated over "
          "real the mean of E_tot/E_inc\n(within 2 %) and its width (within 10 %); AUC of neighbours, "
          "the mean of all draws")  # fmt: skip
    for name, each in (("a fit that saw none of these", without), ("the full fit", model)):
        drawn = [
            ShowerSample(skae.sample(each, real.energy, random_state=seed))
            for seed in range(N_DRAWS)
        ]
        response = np.concatenate([sample.response for sample in drawn])
        mean = response.mean() / real.response.mean()
        ratio, error = ratio_of_widths(real.response, response)
        area = np.mean([told_apart_by_trees(real.neighbours, s.neighbours).auc for s in drawn])
        print(f"{name:34s}{mean:9.4f}{f'{ratio:.3f} ± {error:.3f}':>18s}{area:9.3f}", flush=True)


def run(options):
    """Print everything that is asked for."""
    train, judged = read(options.data, options.train)
    print(f"\n{len(train)} showers to train, {len(judged)} to judge by, {options.threads} threads")
    first = None
    if options.only:
        report = Report(judged)
        rivals(report, options.only, train)
        for seed in range(options.seeds if STAGES & set(options.only) else 0):
            model, minutes = fitted(train, seed, options.epochs)
            stages(report, options.only, train, seed, model, minutes)
            first = model if first is None else first
        report.finish()
    if first is None and (options.copying or options.pictures):
        first = fitted(train, 0, options.epochs)[0]
    if options.pictures:
        draw(judged, first, options.pictures)
    if options.copying:
        copying(train, judged, first, options.epochs)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="file of showers")
    parser.add_argument("--only", nargs="*", choices=ROWS, default=ROWS, help="rows")
    parser.add_argument("--copying", action="store_true", help="search for copies")
    parser.add_argument("--pictures", type=pathlib.Path, help="folder to draw into")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--train", type=int, default=12_000, help="training showers")
    parser.add_argument("--epochs", type=int, help="those of each fit, if not the default")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    with threadpool_limits(options.threads):
        run(options)


if __name__ == "__main__":
    main()
