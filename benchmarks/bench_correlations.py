"""PhotonCorrelationFit: how often its intervals cover, when it warns, and what it makes of real files.

python benchmarks/bench_correlations.py coverage [--draws 1000 200]
python benchmarks/bench_correlations.py warnings [--draws 1000 200]
python benchmarks/bench_correlations.py files --data FOLDER    # of hbt_*.txt.gz
"""

import argparse
import os
import warnings
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from skae import PhotonCorrelationFit
from skae.datasets import load_photon_correlations, make_photon_correlations
from skae.exceptions import PoorFitWarning, UndeterminedWarning

#: 391 bins of 0.256 ns, eight periods of 12.49 ns
TAU = (np.arange(391) - 195) * 0.256
PERIOD = 12.49
COINCIDENCES = (1_000, 10_000, 100_000)
LIFETIMES = (0.3, 1.0, 3.0)
G2_ZERO = {"pulsed": (0.0, 0.3, 1.0, 2.0), "continuous": (0.0, 0.3, 2.0, 1.0)}
CONFIDENCES = (0.68, 0.95)

#: what intervals may cover: counts enough, at 1,000 draws and at fewer; and counts that are few
ENOUGH = {True: ((0.64, 0.72), (0.93, 0.97)), False: ((0.58, 0.78), (0.89, 0.99))}
FEW = ((0.68, 0.88), (0.95, 0.995))


def simulate(kind, g2_zero, lifetime, coincidences, n, seed=0, **options):
    """Return counts ``(n, 391)``, and what is expected, of so many coincidences on average."""
    light = {"g2_zero": g2_zero, "lifetimes": (lifetime,), "gaussian_fraction": 0.0, "tau": TAU}
    if kind == "pulsed":
        light |= {"period": PERIOD, "background": 0.08}
    else:
        light |= {"signal": 1.0}
    light |= options
    clean = make_photon_correlations(1, kind=kind, random_state=0, **light).clean[0]
    expected = clean * coincidences / clean.sum()
    return np.random.default_rng(seed).poisson(expected, (n, len(TAU))).astype(float), expected


def estimator(kind, *, is_known, lifetime=None):
    """Return the fit as a user writes it: the period to half a nanosecond, and zero delay or not."""
    options = {"kind": kind, "times": TAU, "zero_delay": 0.0 if is_known else None}
    if kind == "pulsed":
        options["period"] = (12.0, 13.0)
    if lifetime is not None:
        options["lifetimes"] = (lifetime,)
    return PhotonCorrelationFit(**options)


def quietly(function, *args, **options):
    """Return what a function returns, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **options)


def peak_counts(kind, g2_zero, lifetime, expected):
    """Return the counts expected in the peak at zero delay, or that are missing or more in the dip."""
    level = np.sort(expected)[len(expected) // 2] if kind == "continuous" else 0.0
    if kind == "continuous":
        return level * 2.0 * lifetime / 0.256
    number = np.rint(TAU / PERIOD)
    return expected[number == 0].sum()


def cover(kind, g2_zero, lifetime, coincidences, is_known, n):
    """Return a row of the table."""
    X, expected = simulate(kind, g2_zero, lifetime, coincidences, n)
    told = lifetime if kind == "continuous" and g2_zero == 1.0 else None
    fit = estimator(kind, is_known=is_known, lifetime=told)
    found = quietly(fit.fit_transform, X)[:, 0]
    bound = quietly(estimator(kind, is_known=True, lifetime=told).fit(X).errors, expected[None])[
        0, 0
    ]
    intervals = [quietly(fit.interval, X, confidence) for confidence in CONFIDENCES]
    covered = [np.mean((ends[:, 0] <= g2_zero) & (g2_zero <= ends[:, 1])) for ends in intervals]
    unknown = np.isinf(intervals[0][:, 1]) & (intervals[0][:, 0] == 0.0)
    widths = [np.median(ends[:, 1] - ends[:, 0]) for ends in intervals]
    return {
        "covered": covered, "widths": widths, "bound": bound, "unknown": unknown.mean(),
        "bias": np.mean(found[~unknown] - g2_zero) if (~unknown).any() else np.nan,
        "spread": np.std(found[~unknown]) if (~unknown).any() else np.nan,
        "n": int((~unknown).sum()),
        "counts": peak_counts(kind, g2_zero, lifetime, expected),
    }  # fmt: skip


def faults(row, g2_zero, is_known, n, known_widths):
    """Return what of a row is not as it should be."""
    found = []
    many = row["counts"] >= 25.0 and g2_zero > 0.0
    if is_known:
        limits = ENOUGH[n >= 1000] if many else FEW
    else:
        limits = tuple((low, 1.0) for low, _ in (ENOUGH[n >= 1000] if many else FEW))
    slack = 0.0 if is_known and many else 2.0
    for confidence, share, (low, high) in zip(CONFIDENCES, row["covered"], limits, strict=True):
        error = slack * np.sqrt(confidence * (1.0 - confidence) / n)
        if not low - error <= share <= high + error:
            found.append(f"{confidence:.0%}")
    if is_known and many:
        if abs(row["bias"]) > 0.1 * row["spread"] + 2.0 * row["spread"] / np.sqrt(row["n"]):
            found.append("bias")
        if row["widths"][0] > 1.3 * 2.0 * 0.9945 * row["bound"]:
            found.append("width")
    if not is_known and g2_zero <= 0.3 and row["coincidences"] >= 1e4:
        if row["widths"][0] > 1.3 * known_widths[0] or row["widths"][1] > 1.3 * known_widths[1]:
            found.append("width")
        if row["unknown"] > 0.01:
            found.append("undetermined")
    return ", ".join(found)


def bench_coverage(options):
    """Print how often intervals cover."""
    many, few = options.draws
    print(f"{many} draws where T = 1 ns and zero delay is known, else {few}; width: of the 68 % interval "
          "over that of Cramér and Rao, zero delay known; counts: in the peak at zero delay, or of flat "
          "light over the width of the dip; bias in standard deviations; "
          "last: what is not as asked")  # fmt: skip
    print(f"{'kind':11s}{'g2(0)':>6s}{'T':>5s}{'N':>8s}  {'delay':6s}{'counts':>8s}{'68 %':>7s}"
          f"{'95 %':>7s}{'width':>7s}{'bias':>7s}{'undet.':>8s}")  # fmt: skip
    for kind in G2_ZERO:
        for g2_zero in G2_ZERO[kind]:
            for lifetime in LIFETIMES:
                for coincidences in COINCIDENCES:
                    widths = None
                    for is_known in (True, False):
                        n = many if is_known and lifetime == 1.0 else few
                        row = cover(kind, g2_zero, lifetime, coincidences, is_known, n)
                        row["coincidences"] = coincidences
                        fault = faults(row, g2_zero, is_known, n, widths)
                        widths = row["widths"] if is_known else None
                        print(f"{kind:11s}{g2_zero:6.1f}{lifetime:5.1f}{coincidences:8d}  "
                              f"{'known' if is_known else 'free':6s}{row['counts']:8.0f}"
                              f"{row['covered'][0]:7.3f}{row['covered'][1]:7.3f}"
                              f"{row['widths'][0] / (2 * 0.9945 * row['bound']):7.2f}"
                              f"{row['bias'] / row['spread']:7.2f}{row['unknown']:8.3f}  {fault}",
                              flush=True)  # fmt: skip


def share_warned(fit, X, category=PoorFitWarning):
    """Return in how many rows, each alone, a warning is raised."""
    raised = 0
    for x in X:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fit.fit(x[None]).transform(x[None])
        raised += any(issubclass(warning.category, category) for warning in caught)
    return raised / len(X)


def with_hump(X, expected, kind, seed, width):
    """Return counts with cross-talk: 30 % of a side peak, or 30 % above flat light, 8 ns late."""
    shape = np.exp(-0.5 * ((TAU - 8.0) / width) ** 2)
    if kind == "pulsed":
        number = np.rint(TAU / PERIOD)
        shape *= 0.3 * expected[number == 2].sum() / shape.sum()
    else:
        shape *= 0.3 * np.median(expected)
    return X + np.random.default_rng(seed).poisson(np.tile(shape, (len(X), 1)))


def bench_warnings(options):
    """Print how often a poor fit is warned of, where the formula is right and where it is wrong."""
    many, few = options.draws
    print(f"share of histograms that raise PoorFitWarning, {few} draws, T = 1 ns, zero delay free")
    for kind in G2_ZERO:
        other = "continuous" if kind == "pulsed" else "pulsed"
        for coincidences in COINCIDENCES:
            X, expected = simulate(kind, 0.3, 1.0, coincidences, few)
            right = estimator(kind, is_known=False)
            print(f"  {kind:11s}{coincidences:8d}  as it is {share_warned(right, X):5.3f}   "
                  f"undetermined {share_warned(right, X, UndeterminedWarning):5.3f}", end="")  # fmt: skip
            wrong = PhotonCorrelationFit(kind=other, times=TAU)
            print(f"   kind wrong {share_warned(wrong, X):5.3f}", end="")
            if kind == "pulsed":
                late = PhotonCorrelationFit(kind=kind, times=TAU, period=1.02 * PERIOD)
                print(f"   period 2 % wrong {share_warned(late, X):5.3f}", end="")
            humps = [with_hump(X, expected, kind, 1, width) for width in (3.0, 2.0)]
            print(
                "   hump of 3 ns {:5.3f}, of 2 ns {:5.3f}".format(
                    *(share_warned(right, hump) for hump in humps)
                ),
                flush=True,
            )
    print(f"Poissonian light, {many} draws: how often the 95 % interval holds 1")
    for kind in G2_ZERO:
        for coincidences in COINCIDENCES:
            X, expected = simulate(kind, 1.0, 1.0, coincidences, many)
            for name, fit in {
                "zero delay free": estimator(kind, is_known=False),
                "zero delay and lifetime known": estimator(kind, is_known=True, lifetime=1.0),
            }.items():
                low, high = quietly(fit.fit(X).interval, X, 0.95).T
                bound = quietly(
                    estimator(kind, is_known=True, lifetime=1.0).fit(X).errors, expected[None]
                )
                held = np.mean((low <= 1) & (high >= 1))
                print(f"  {kind:11s}{coincidences:8d}  {name:30s} {held:5.3f}"
                      f"   width over Cramér and Rao {np.median(high - low) / (3.92 * bound[0, 0]):5.2f}",
                      flush=True)  # fmt: skip


# -- measured histograms -----------------------------------------------------------------------

CONTINUOUS = ("a08", "a20", "0p5uW")
WIDTHS = (1, 1.5, 2, 3, 4, 6, 10, 20, 40, 80, 160)

#: where cross-talk is seen in the continuous files, ns
HUMP = (40.0, 90.0)


def first_and_rest(file):
    """Return delays, and the histograms of the first tenth of the snapshots and of the rest."""
    g2 = quietly(load_photon_correlations, file, drop_last=2)
    totals = g2.counts.sum(axis=1)
    counts = g2.counts[totals <= 10 * np.median(totals)]
    cut = round(len(counts) / 10)
    return g2.tau, counts[:cut].sum(axis=0), counts[cut:].sum(axis=0), len(totals) - len(counts)


def deviance(counts, mean):
    """Return the Poisson deviance per bin, the mean scaled to the total of the counts."""
    mean = np.maximum(mean, 1e-3 * mean.mean())
    mean = mean * counts.sum() / mean.sum()
    return 2.0 * (mean - counts + counts * np.log(np.where(counts > 0, counts, 1.0) / mean)).mean()


def folded(counts, tau, period):
    """Return the histogram averaged over the periods, in bins as wide as its own."""
    phase = np.floor(tau / period % 1.0 * round(period / (tau[1] - tau[0]))).astype(int)
    return (np.bincount(phase, counts) / np.bincount(phase))[phase]


def likeliest_folding(counts, tau):
    """Return the folding at the period that describes the counts themselves best."""
    periods = np.arange(9.0, 14.0, 0.002)
    own = [deviance(counts, folded(counts, tau, period)) for period in periods]
    return folded(counts, tau, periods[int(np.argmin(own))])


def area_ratio(counts, tau, period, zero_delay):
    """Return the area at zero delay over that of the mean side peak, and its error."""
    number = np.rint((tau - zero_delay) / period).astype(int)
    centre = counts[number == 0].sum()
    sides = np.array([counts[number == k].sum() for k in range(number[0] + 1, number[-1]) if k])
    ratio = centre / sides.mean()
    return ratio, ratio * np.sqrt(1.0 / max(centre, 1.0) + 1.0 / max(sides.sum(), 1.0))


def named(fit, x):
    """Return parameters by name, the 95 % interval as counted, and the names of the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        values = fit.fit(x[None]).transform(x[None])
        ends = fit.interval(x[None], 0.95, quantity="g2_counted")[0]
    raised = sorted({warning.category.__name__.removesuffix("Warning") for warning in caught})
    return dict(zip(fit.param_names_, values[0], strict=True)), values, ends, raised


def bench_files(options):
    """Print what the first tenth of the snapshots tells of the rest."""
    files = sorted(Path(options.data).glob("hbt_*.txt.gz")) if options.data else []
    if not files:
        print("measured histograms are left out: --data names no folder with hbt_*.txt.gz")
        return
    print("Poisson deviance per bin of all but the first tenth of the snapshots, from that tenth; "
          "g2(0) as counted, background included, 95 %")  # fmt: skip
    for file in files:
        tau, first, rest, n_left_out = first_and_rest(file)
        is_continuous = any(name in file.name for name in CONTINUOUS)
        print(f"{file.name}: {first.sum():.0f} coincidences, then {rest.sum():.0f}; "
              f"{n_left_out} snapshots of more than ten times the median left out")  # fmt: skip
        rivals = {
            "mean": np.ones_like(first),
            "folding at its likeliest period": likeliest_folding(first, tau),
        }
        smooth = [gaussian_filter1d(first, width, mode="nearest") for width in WIDTHS]
        keep = (tau < HUMP[0]) | (tau > HUMP[1])
        for name, curve in rivals.items():
            print(f"  {name:44s}{deviance(rest, curve):7.3f}")
        print(f"  {'smoothing, the best width for the rest':44s}"
              f"{min(deviance(rest, curve) for curve in smooth):7.3f}", end="")  # fmt: skip
        if is_continuous:
            best = min(deviance(rest[keep], curve[keep]) for curve in smooth)
            print(f"   without the hump's bins {best:.3f}", end="")
        print()
        masked = np.where(keep, first, np.nan)
        if is_continuous:
            cw = {"kind": "continuous", "times": tau, "zero_delay": 61.0}
            fits = {
                "fit, hump masked": (PhotonCorrelationFit(missing="mask", **cw), masked),
                "fit, hump modelled": (PhotonCorrelationFit(crosstalk=((45.0, 75.0),), **cw), first),
                "fit, hump not modelled": (PhotonCorrelationFit(**cw), first),
                "fit, nothing told": (PhotonCorrelationFit(times=tau), first),
                "fit to all snapshots, hump not modelled": (PhotonCorrelationFit(**cw), first + rest),
                "fit to all snapshots, hump modelled": (
                    PhotonCorrelationFit(crosstalk=((45.0, 75.0),), **cw), first + rest,
                ),
            }  # fmt: skip
        else:
            fits = {
                "fit, nothing told": (PhotonCorrelationFit(times=tau), first),
                "fit, jitter free": (PhotonCorrelationFit(times=tau, jitter=None), first),
                "fit, jitter free, zero delay to 3 ns": (
                    PhotonCorrelationFit(times=tau, jitter=None, zero_delay=(58.0, 64.0)), first,
                ),
            }  # fmt: skip
        for name, (fit, x) in fits.items():
            values, table, ends, raised = named(fit, x)
            here = keep if np.isnan(x).any() else np.ones(len(tau), dtype=bool)
            curve = fit.inverse_transform(table)[0]
            print(f"  {name:44s}{deviance(rest[here], curve[here]):7.3f}   {fit.kind_}, g2(0) "
                  f"{ends[0]:.3f} to {ends[1]:.3f}", end="")  # fmt: skip
            if fit.kind_ == "pulsed":
                ratio, error = area_ratio(rest, tau, values["period"], values["zero_delay"])
                own, spread = area_ratio(x, tau, values["period"], values["zero_delay"])
                print(f", by its own peak areas {own:.3f} ± {1.96 * spread:.3f}, by the rest's "
                      f"{ratio:.3f} ± {1.96 * error:.3f}", end="")  # fmt: skip
            print(f"   {', '.join(raised)}")


def main():
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", choices=["coverage", "warnings", "files"])
    parser.add_argument("--data", help="a folder with hbt_*.txt.gz")
    parser.add_argument("--draws", type=int, nargs=2, default=(1000, 200))
    options = parser.parse_args()
    print(f"NumPy on {os.environ.get('OMP_NUM_THREADS', 'all')} threads")
    {"coverage": bench_coverage, "warnings": bench_warnings, "files": bench_files}[options.which](
        options
    )


if __name__ == "__main__":
    main()
