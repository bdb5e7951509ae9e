"""SpectraVAE on spectra with errors of each pixel: beside EM, weighted PCA, PCA and NMF.

    python benchmarks/bench_surveys.py stars generated --data FILE

    stars       spectra of stars without noise, from FILE (flux, wavelength), observed by a stated recipe
    generated   the same of skae.datasets.make_stellar_spectra
    shifted     the same stars, or without FILE the generated ones, at redshifts up to 0.1 and 0.01
    large       50,000 rows of 4000 pixels in a file, with errors and gaps: seconds and memory, beside
                IncrementalPCA, which knows of neither and gets means in their place

Figures are of rows that were not trained on: χ² of hidden pixels, mean and median, which should be 1;
error of the mean rows against the truth, in σ of the pixels; AUC of anomalies by the largest pull, in
units of errors and, of SpectraVAE, of what its components do not follow; what bands of 68 % cover in the
faintest and the brightest quarter, and their median width in σ. "Its choice" is the number of components
under which a fifth of the training rows, held out, is likeliest; "best of" the one whose error is least
on the judged rows, which favours the rival. Times of EM are of one of its three starts. All use two torch
threads unless --threads says otherwise.
"""

import argparse
import tempfile
import time
import warnings
from dataclasses import replace
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from _memory import peak_memory
from _surveys import (
    ExpectationMaximisation,
    filled_by_means,
    judge,
    observe,
    spender,
    weighted_pca,
)
from sklearn.decomposition import IncrementalPCA
from sklearn.pipeline import make_pipeline

import skae
from skae.datasets import make_stellar_spectra

COMPONENTS = (8, 16, 24)

# Among these the number of components is chosen, by the likelihood of a fifth of the training rows.
CHOICE = (2, 4, 8, 12, 16, 24, 32)
N_SURVEYS = 3

# Seconds for which spender is trained.
SPENDER_SECONDS = 240.0
FIGURES = "chi2_mean", "chi2_median", "error", "auc", "faint", "bright", "width", "seconds"


def fit_ours(survey, k, seed, name="SpectraVAE", **options):
    """Return figures of a Pipeline's model, in units of each row's brightness."""
    X, judged = (skae.with_errors(*part) for part in (survey.train, survey.judged))
    begin = time.perf_counter()
    model = make_pipeline(
        skae.SpectrumScaler(error_columns=True),
        skae.SpectraVAE(k, error_columns=True, random_state=seed, **options),
    ).fit(X)
    seconds = time.perf_counter() - begin
    scaled = model[0].transform(judged)
    half = scaled.shape[1] // 2
    scale = np.nanmedian(judged[:, half:] / scaled[:, half:], axis=1, keepdims=True)
    mean, std = (scale * part for part in model[1].reconstruct(scaled, return_std=True))
    misfit = scale * getattr(model[1], "misfit_sigma_", 0.0)
    return judge(f"{name}, {model[1].n_iter_} steps", k, seconds, survey, mean, std, misfit)


@lru_cache
def fit_em(survey, k):
    """Return probabilistic PCA, the best of three starts."""
    return ExpectationMaximisation(k).fit(*survey.train)


def rows_of(survey, k, seed):
    """Go through the methods."""
    em = fit_em(survey, k)
    mean, std, _ = em.expect(*survey.judged)
    yield judge(f"EM, {em.n_iter} steps", k, em.seconds, survey, mean, std)
    yield fit_ours(survey, k, seed)
    for name, method in (
        ("weighted PCA", weighted_pca),
        ("PCA, gaps filled", filled_by_means),
        ("NMF, gaps filled", lambda *rest: filled_by_means(*rest, positive=True)),
    ):
        begin = time.perf_counter()
        mean, std = method(*survey.train, *survey.judged, k)
        yield judge(name, k, time.perf_counter() - begin, survey, mean, std)


def chosen_by_em(train, held):
    """Return the number of components under which EM's model makes held-out rows likeliest."""
    return max(
        CHOICE, key=lambda k: ExpectationMaximisation(k).fit(*train, n_starts=1).expect(*held)[2]
    )


def chosen_by_us(train, held, seed):
    """Return the number of components under which held-out rows score best."""
    scaler = skae.SpectrumScaler(error_columns=True)
    X, of_held = (scaler.fit_transform(skae.with_errors(*part)) for part in (train, held))

    def score(k):
        vae = skae.SpectraVAE(k, error_columns=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", skae.exceptions.PoorFitWarning)  # it is why one asks
            return vae.fit(X).score(of_held)

    return max(CHOICE, key=score)


def rows_at_choice(survey, seed):
    """Let each of the two choose its number of components."""
    n = 4 * survey.n_train // 5
    train, held = ([part[rows] for part in survey.train] for rows in (slice(n), slice(n, None)))
    k = chosen_by_em(train, held)
    em = fit_em(survey, k)
    mean, std, _ = em.expect(*survey.judged)
    yield judge("EM, its choice", k, em.seconds, survey, mean, std)
    yield replace(
        fit_ours(survey, chosen_by_us(train, held, seed), seed), method="SpectraVAE, its choice"
    )


def rows_of_shifted(survey, wavelengths, redshifts, largest, seed):
    """Go through what follows lines that shift, and what does not."""
    em = fit_em(survey, 8)
    mean, std, _ = em.expect(*survey.judged)
    yield judge(f"EM, {em.n_iter} steps", 8, em.seconds, survey, mean, std)
    tried = []
    for k in CHOICE:
        begin = time.perf_counter()
        mean, std = filled_by_means(*survey.train, *survey.judged, k)
        seconds = time.perf_counter() - begin
        tried.append(judge("PCA, gaps filled, best of", k, seconds, survey, mean, std))
    yield min(tried, key=lambda row: row.error)
    if find_spec("spender"):
        mean, std = spender(survey, redshifts[survey.order], wavelengths, 8, SPENDER_SECONDS)
        yield judge("spender, redshifts told", 8, SPENDER_SECONDS, survey, mean, std)
    for k in (8, 32):
        yield fit_ours(survey, k, seed, "linear")
    yield fit_ours(survey, 8, seed, "hidden layers", hidden_layer_sizes=(64, 64))
    options = {"decoder": "redshift", "wavelengths": wavelengths, "max_redshift": largest}
    for k in (8, 16):
        yield fit_ours(survey, k, seed, "redshift", **options)


def shifted(name, shapes_at, wavelengths):
    """Print the median of three draws of the survey, at redshifts up to two numbers."""
    for largest in (0.1, 0.01):
        moved = [shapes_at(largest, seed) for seed in range(N_SURVEYS)]
        surveys = [observe(shapes, wavelengths, seed) for seed, (shapes, _) in enumerate(moved)]
        introduce(f"{name}, redshifts up to {largest}", surveys)
        print_medians(
            [
                list(rows_of_shifted(survey, wavelengths, redshifts, largest, seed))
                for seed, (survey, (_, redshifts)) in enumerate(zip(surveys, moved, strict=True))
            ]
        )


def move(shapes, wavelengths, largest, seed):
    """Return spectra whose medians are 1, and redshifts; below the first wavelength they are constant."""
    redshifts = np.random.default_rng(100 + seed).uniform(0.0, largest, len(shapes))
    rows = [
        np.interp(wavelengths / (1.0 + z), wavelengths, row)
        for z, row in zip(redshifts, shapes, strict=True)
    ]
    return np.array(rows) / np.median(rows, axis=1, keepdims=True), redshifts


def generated(largest=0.0, seed=0):
    """Return spectra of the package's generator, without noise, and what they are of."""
    return make_stellar_spectra(
        3000, brightness_range=1.0, gaps=0.0, max_redshift=largest, random_state=seed
    )


def generated_at(largest, seed):
    """Return spectra of the generator, and their redshifts."""
    made = generated(largest, seed)
    return made.truth, made.redshift


def introduce(name, surveys):
    """Print what surveys have, and the names of the columns."""
    survey = surveys[0]
    gaps = np.mean([survey.gap.mean() for survey in surveys])
    n, d = survey.flux.shape
    print(f"\n{name}: {survey.n_train} spectra to train, {n - survey.n_train} to judge "
          f"by, {d} pixels, {100 * gaps:.0f} % of them in gaps; "
          f"{torch.get_num_threads()} torch threads, medians of {len(surveys)} surveys")  # fmt: skip
    print(f"{'K':>8s} {'':26s}{'χ² mean':>9s}{'median':>9s}{'error':>9s}{'AUC':>9s}{'faint':>9s}"
          f"{'bright':>9s}{'width':>9s}{'s':>9s}")  # fmt: skip


def table(name, shapes, wavelengths, components, *, chooses):
    """Print the median of three draws of the survey."""
    surveys = [observe(shapes, wavelengths, seed) for seed in range(N_SURVEYS)]
    introduce(name, surveys)
    for k in components:
        print_medians([list(rows_of(survey, k, seed)) for seed, survey in enumerate(surveys)])
    if chooses:
        print_medians([list(rows_at_choice(survey, seed)) for seed, survey in enumerate(surveys)])


def large(n, d, k, folder):
    """Time fits of rows in a file: a sum of k shapes, errors of each pixel, 9 % of them not seen."""
    rng = np.random.default_rng(0)
    shapes = rng.normal(size=(k, d)).astype(np.float32)
    X = np.lib.format.open_memmap(folder / "rows.npy", "w+", np.float32, (n, 2 * d))
    for start in range(0, n, 1000):
        rows = slice(start, start + 1000)
        part = X[rows]
        errors = np.exp(0.5 * rng.standard_normal((len(part), d), dtype=np.float32))
        part[:, :d] = 20.0 + rng.standard_normal((len(part), k), dtype=np.float32) @ shapes
        part[:, :d] += errors * rng.standard_normal((len(part), d), dtype=np.float32)
        errors[rng.uniform(size=errors.shape) < 0.09] = np.nan
        part[:, d:] = errors
    X.flush()
    X = np.load(folder / "rows.npy", mmap_mode="r")
    vae = skae.SpectraVAE(k, error_columns=True, random_state=0)
    pca = IncrementalPCA(k)

    def by_parts():
        for start in range(0, n, 1000):
            part = X[start : start + 1000]
            pca.partial_fit(np.where(np.isnan(part[:, d:]), 20.0, part[:, :d]))

    print(f"\n{n} rows of {d} float32 numbers and their errors, {X.nbytes / 2**30:.1f} GiB in a file, "
          f"{k} components, {torch.get_num_threads()} torch threads")  # fmt: skip
    print(f"{'':28s}{'s':>9s}{'GiB more':>10s}{'passes':>8s}{'s a pass':>10s}"
          f"{'of the shapes not found':>25s}")  # fmt: skip
    true = np.linalg.svd(shapes, full_matrices=False)[2]
    for name, fit in (
        ("IncrementalPCA, gaps filled", by_parts),
        ("SpectraVAE", lambda: vae.fit(X)),
    ):
        begin = time.perf_counter()
        memory = peak_memory(fit)
        seconds = time.perf_counter() - begin
        passes = 1 if fit is by_parts else vae.n_iter_
        found = pca.components_ if fit is by_parts else vae.inverse_transform(np.eye(k))
        found = found if fit is by_parts else found - vae.inverse_transform(np.zeros((1, k)))
        axes = np.linalg.svd(found, full_matrices=False)[2]
        missed = 1.0 - np.square(axes @ true.T).sum() / k
        print(f"{name:28s}{seconds:9.1f}{memory / 1024:10.2f}{passes:8d}{seconds / passes:10.1f}"
              f"{missed:25.1e}", flush=True)  # fmt: skip


def print_medians(of_surveys):
    """Print the median of each row over the surveys."""
    for rows in zip(*of_surveys, strict=True):
        values = [np.median([getattr(row, name) for row in rows]) for name in FIGURES]
        line = "".join(f"{value:9.3f}" for value in values)
        k = "/".join(str(k) for k in sorted({row.n_components for row in rows}))
        print(f"{k:>8s} {rows[0].method:26s}{line}", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ("stars", "generated", "shifted", "large")
    parser.add_argument("what", nargs="*", choices=names, default=names[:2])
    parser.add_argument(
        "--size", type=int, nargs=2, default=(50_000, 4000), help="rows and pixels of large"
    )
    parser.add_argument("--data", help="file of spectra without noise: flux, wavelength")
    parser.add_argument("--components", type=int, nargs="*", default=COMPONENTS)
    parser.add_argument("--without-choice", action="store_true", help="no chosen numbers")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    chooses = not options.without_choice
    if options.data is not None:
        data = np.load(options.data)
        shapes, wavelengths = data["flux"].astype(float), data["wavelength"].astype(float)
    elif "stars" in options.what:
        parser.error("stars needs --data FILE")
    if "stars" in options.what:
        table("Stars", shapes, wavelengths, options.components, chooses=chooses)
    if "generated" in options.what:
        made = generated()
        rows = made.truth, made.wavelengths, options.components
        table("make_stellar_spectra", *rows, chooses=chooses)
    if "shifted" in options.what and options.data is not None:
        shifted("Stars", partial(move, shapes, wavelengths), wavelengths)
    elif "shifted" in options.what:
        shifted("make_stellar_spectra", generated_at, generated().wavelengths)
    if "large" in options.what:
        with tempfile.TemporaryDirectory() as folder:
            large(*options.size, 8, Path(folder))


if __name__ == "__main__":
    main()
