"""Photon-correlation Fourier spectroscopy: correlations over nine decades of delays, cleaned.

A file has g2 (n_positions, n_times) of a stage's positions, and tau, in ps; of each position there is one
measurement only. What a method makes of it is compared with the positions before and behind, which differ
little, and have noise of their own: 1.5 is the measurement itself, 0.5 a prediction without an error.

python benchmarks/bench_pcfs.py FILE.npz [--budget 90] [--first 8]
"""

import argparse

import numpy as np
import torch
from _correlations import fit_within
from scipy.ndimage import gaussian_filter1d

from skae import MultiResRNNRegressor

WIDTHS = (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24)


def simulated(tau, n, rng):
    """Return curves that rise to 1 by one slow step, and from a fast loss at short delays."""

    def draw(low, high):
        return rng.uniform(low, high, (n, 1))

    slow = tau / 10.0 ** draw(6.0, 14.0)
    fast = tau / 10.0 ** draw(4.5, 6.5)
    curves = 1.0 - draw(0.0, 0.5) * np.exp(-(slow ** draw(0.2, 1.0)))
    return curves - 10.0 ** draw(-1.5, 2.0) * np.exp(-(fast ** draw(0.5, 1.5)))


def noise_of(g2):
    """Return the standard deviation of each column, from how positions differ from their neighbours."""
    return np.sqrt(np.square(g2[1:-1] - 0.5 * (g2[:-2] + g2[2:])).mean(axis=0) / 1.5)


def trained(tau, sigma, seed, budget):
    """Return a network that has seen such curves with such noise."""
    rng = np.random.default_rng(seed)
    clean = simulated(tau, 4000, rng)
    noisy = clean + sigma * rng.standard_normal(clean.shape)
    model = MultiResRNNRegressor(times=np.log(tau), random_state=seed)
    return fit_within(model, noisy / sigma, clean / sigma, budget)[0]


def smoothed(g2, sigma, width):
    """Smooth along the number of the delay, weighted by precisions."""
    weight = 1.0 / sigma**2
    top = gaussian_filter1d(g2 * weight, width, axis=1, mode="nearest")
    return top / gaussian_filter1d(weight, width, mode="nearest")


def judged(predicted, g2, sigma, parts):
    """Return mean squared deviations from the neighbours' mean, in units of σ², by decades."""
    neighbours = 0.5 * (g2[:-2] + g2[2:])
    squares = np.square((predicted[1:-1] - neighbours) / sigma)
    return [squares[:, part].mean() for part in parts]


def main():
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--budget", type=float, default=90, help="seconds of training")
    parser.add_argument("--first", type=int, default=8, help="first position: before, lasers drift")
    options = parser.parse_args()
    data = np.load(options.file)
    tau, g2 = data["tau"], data["g2"][options.first :]
    sigma = noise_of(g2)
    decades = np.log10(tau)
    parts = [decades < 7.0, (decades >= 7.0) & (decades < 10.0), decades >= 10.0]
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; {options.budget:g} s of training"
    )
    print(f"{len(g2)} positions, {len(tau)} delays: squared differences from the mean of the two "
          "neighbours, in units of a position's variance")  # fmt: skip
    print(f"{'':34s}{'< 10 µs':>9s}{'< 10 ms':>9s}{'longer':>9s}")

    def show(name, predicted):
        values = judged(predicted, g2, sigma, parts)
        print(f"  {name:32s}" + "".join(f"{value:9.3f}" for value in values), flush=True)

    show("as measured", g2)
    show("mean of all positions", np.tile(g2.mean(axis=0), (len(g2), 1)))
    for width in WIDTHS:
        show(f"smoothing, {width:g} delays", smoothed(g2, sigma, width))
    for seed in range(3):
        model = trained(tau, sigma, seed, options.budget)
        show(f"network, seed {seed}", model.predict(g2 / sigma) * sigma)


if __name__ == "__main__":
    main()
