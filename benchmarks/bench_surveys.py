"""SpectraVAE on spectra with errors of each pixel: beside EM, weighted PCA, PCA and NMF.

    python benchmarks/bench_surveys.py stars generated --data FILE

    stars       spectra of stars without noise, from FILE (flux, wavelength), observed by a stated recipe
    generated   the same of skae.datasets.make_stellar_spectra
    large       50,000 rows of 4000 pixels in a file, with errors and gaps: seconds and memory, beside
                IncrementalPCA, which knows of neither and gets means in their place

Figures are of rows that were not trained on: χ² of hidden pixels, mean and median, which should be 1;
error of the mean rows against the truth, in σ of the pixels; AUC of anomalies by the largest pull, in
units of errors and, of SpectraVAE, of what its components do not follow; what bands of 68 % cover in the
faintest and the brightest quarter, and their median width in σ. "Its choice" is the number of components
under which a fifth of the training rows, held out, is likeliest. Times of EM are of one of its three
starts. All use two torch threads unless --threads says otherwise.
"""

import argparse
import tempfile
import time
import warnings
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from _memory import peak_memory
from _surveys import ExpectationMaximisation, filled_by_means, judge, observe, weighted_pca
from sklearn.decomposition import IncrementalPCA
from sklearn.pipeline import make_pipeline

import skae
from skae.datasets import make_stellar_spectra

COMPONENTS = (8, 16, 24)

# Among these the number of components is chosen, by the likelihood of a fifth of the training rows.
CHOICE = (2, 4, 8, 12, 16, 24, 32)
FIGURES = "chi2_mean", "chi2_median", "error", "auc", "faint", "bright", "width", "seconds"


def fit_ours(survey, k, seed):
    """Return figures of the linear model of a Pipeline, in units of each row's brightness."""
    X, judged = (skae.with_errors(*part) for part in (survey.train, survey.judged))
    begin = time.perf_counter()
    model = make_pipeline(
        skae.SpectrumScaler(error_columns=True),
        skae.SpectraVAE(k, error_columns=True, random_state=seed),
    ).fit(X)
    seconds = time.perf_counter() - begin
    scaled = model[0].transform(judged)
    half = scaled.shape[1] // 2
    scale = np.nanmedian(judged[:, half:] / scaled[:, half:], axis=1, keepdims=True)
    mean, std = (scale * part for part in model[1].reconstruct(scaled, return_std=True))
    method, misfit = f"SpectraVAE, {model[1].n_iter_} steps", scale * model[1].misfit_sigma_
    return judge(method, k, seconds, survey, mean, std, misfit)


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


def table(name, shapes, wavelengths, components):
    """Print the median of three draws of the survey."""
    surveys = [observe(shapes, wavelengths, seed) for seed in range(3)]
    gaps = np.mean([survey.gap.mean() for survey in surveys])
    print(f"\n{name}: {surveys[0].n_train} spectra to train, {len(shapes) - surveys[0].n_train} to judge "
          f"by, {shapes.shape[1]} pixels, {100 * gaps:.0f} % of them in gaps; "
          f"{torch.get_num_threads()} torch threads, medians of three surveys")  # fmt: skip
    print(f"{'K':>8s} {'':26s}{'χ² mean':>9s}{'median':>9s}{'error':>9s}{'AUC':>9s}{'faint':>9s}"
          f"{'bright':>9s}{'width':>9s}{'s':>9s}")  # fmt: skip
    for k in components:
        print_medians([list(rows_of(survey, k, seed)) for seed, survey in enumerate(surveys)])
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
    names = ("stars", "generated", "large")
    parser.add_argument("what", nargs="*", choices=names, default=names[:2])
    parser.add_argument(
        "--size", type=int, nargs=2, default=(50_000, 4000), help="rows and pixels of large"
    )
    parser.add_argument("--data", help="file of spectra without noise: flux, wavelength")
    parser.add_argument("--components", type=int, nargs="*", default=COMPONENTS)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if "stars" in options.what:
        if options.data is None:
            parser.error("stars needs --data FILE")
        data = np.load(options.data)
        shapes = data["flux"].astype(float)
        table("Stars", shapes, data["wavelength"].astype(float), options.components)
    if "generated" in options.what:
        made = make_stellar_spectra(3000, brightness_range=1.0, gaps=0.0, random_state=0)
        table("make_stellar_spectra", made.truth, made.wavelengths, options.components)
    if "large" in options.what:
        with tempfile.TemporaryDirectory() as folder:
            large(*options.size, 8, Path(folder))


if __name__ == "__main__":
    main()
