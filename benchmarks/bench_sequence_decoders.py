"""How a latent should enter a recurrent decoder: as its hidden state, as its cell state, or not alone.

The same spectra (or photon correlations), encoder, likelihood, epochs and LSTM; what differs is the
decoder. "autoregressive" also reads the number before, as a language model does, and so may do without
the latent. "torch's biases" leaves out the start at which memories last as long as the sequence;
"multires" goes coarse to fine. Columns:

ELBO          of spectra not trained on, in nats; "short of" the one of the true rates
active        latent coordinates whose mean varies by more than 0.01 (Burda et al., 2016)
KL            what the latents tell of a spectrum, in nats
swap          nats a spectrum loses when it is decoded from another one's latent

Medians of three seeds.
Run: python benchmarks/bench_sequence_decoders.py [--epochs 60] [--bins 100] [--data correlations]
"""

import argparse
import statistics
import time

import numpy as np
import torch
from _loops import train_by_hand
from scipy.stats import poisson
from torch import nn

from skae import SpectraVAE
from skae.datasets import make_photon_correlations, make_spectra
from skae.metrics import active_units, latent_divergence
from skae.modules.spectra import lstm as recurrent
from skae.modules.spectra.lstm import grid_features

N_ROWS = 1000

#: latent coordinates: of two fluxes, and of what a histogram tells of six parameters
COMPONENTS = {"spectra": 2, "correlations": 4}


def counts_and_rates(data, n_bins, seed):
    """Return counted rows, and what was expected of them."""
    if data == "spectra":
        X, _ = make_spectra(2 * N_ROWS, n_bins=n_bins, random_state=seed)
        return X, make_spectra(2 * N_ROWS, n_bins=n_bins, noise=False, random_state=seed)[0]
    g2 = make_photon_correlations(
        2 * N_ROWS, n_times=n_bins, counts=100.0, gaussian_fraction=0.0, random_state=seed
    )
    return np.rint(100.0 * g2.noisy), 100.0 * g2.clean


class Autoregressive(nn.Module):
    """The same VAE with a decoder that reads the counts before, its latent as hidden state."""

    def __init__(self, X, n_components, hidden_size):
        super().__init__()
        d = X.shape[1]
        self.register_buffer("mean", X.mean(dim=0))
        self.register_buffer("std", X.std(dim=0))
        self.encoder = nn.Sequential(
            nn.Linear(d, 64),
            nn.SiLU(),
            nn.Linear(64, 64),
            nn.SiLU(),
            nn.Linear(64, 2 * n_components),
        )
        self.register_buffer("grid", grid_features(torch.arange(d).double()).float())
        self.start = nn.Linear(n_components, hidden_size)
        self.lstm = nn.LSTM(self.grid.shape[1] + 1, hidden_size, batch_first=True)
        self.output = nn.Linear(hidden_size, 1)
        recurrent.chrono_init(self.lstm, d)

    def posterior(self, x):
        """Return mean and logarithm of the standard deviation of the latents."""
        return self.encoder((x - self.mean) / self.std).chunk(2, dim=1)

    def log_prob(self, x, z):
        """Return the log-likelihood of each row, of which each number is predicted from those before."""
        before = nn.functional.pad((x - self.mean) / self.std, (1, 0))[:, :-1]
        sequence = torch.cat([self.grid.expand(len(x), -1, -1), before[..., None]], dim=2)
        start = torch.tanh(self.start(z))[None]
        output = self.output(self.lstm(sequence, (start, torch.zeros_like(start)))[0])[..., 0]
        rate = nn.functional.softplus(self.mean + self.std * output) + 1e-6
        return (x * rate.log() - rate - torch.lgamma(x + 1.0)).sum(dim=1)

    def bound(self, x):
        """Return the ELBO of each row by one draw."""
        mean, log_std = self.posterior(x)
        log_prob = self.log_prob(x, mean + log_std.exp() * torch.randn_like(mean))
        return log_prob - 0.5 * (mean**2 + (2 * log_std).exp() - 2 * log_std - 1.0).sum(dim=1)

    def loss(self, x):
        """Return minus the mean bound of a minibatch."""
        return -self.bound(x).mean()


def judge_autoregressive(train, test, seed, options):
    torch.manual_seed(seed)
    train, test = (torch.tensor(part, dtype=torch.float32) for part in (train, test))
    model = Autoregressive(train, COMPONENTS[options.data], options.hidden_size)
    train_by_hand(model, model.loss, train, batch_size=64, epochs=options.epochs, lr=1e-2)
    with torch.no_grad():
        mean, log_std = model.posterior(test)
        bound = statistics.mean(model.bound(test).mean().item() for _ in range(16))
        loss = model.log_prob(test, mean) - model.log_prob(test, mean.roll(1, dims=0))
    return bound, mean.numpy(), log_std.exp().numpy(), loss.numpy()


def judge(train, test, seed, options, **parameters):
    vae = SpectraVAE(
        COMPONENTS[options.data],
        likelihood="poisson",
        hidden_layer_sizes=(64, 64),
        hidden_size=options.hidden_size,
        max_epochs=options.epochs,
        batch_size=64,
        lr=1e-2,
        random_state=seed,
        **parameters,
    ).fit(train)
    mean, std = vae.posterior(test)
    own, other = (vae.inverse_transform(z) for z in (mean, np.roll(mean, 1, axis=0)))
    loss = (poisson.logpmf(test, own) - poisson.logpmf(test, other)).sum(axis=1)
    return vae.score(test), mean, std, loss


def judge_forgetful(*arguments, **parameters):
    """Judge with the biases that torch gives an LSTM, which forget within a few steps."""
    chrono_init, recurrent.chrono_init = recurrent.chrono_init, lambda *_: None
    try:
        return judge(*arguments, **parameters)
    finally:
        recurrent.chrono_init = chrono_init


CONTENDERS = {
    "dense (64, 64)": lambda *a: judge(*a),
    "LSTM, latent as hidden state": lambda *a: judge(*a, decoder="lstm", latent_state="hidden"),
    "LSTM, latent as cell state": lambda *a: judge(*a, decoder="lstm", latent_state="cell"),
    "multires, latent as hidden state": lambda *a: judge(
        *a, decoder="multires", latent_state="hidden"
    ),
    "multires, latent as cell state": lambda *a: judge(*a, decoder="multires", latent_state="cell"),
    "… hidden state, torch's biases": lambda *a: judge_forgetful(
        *a, decoder="lstm", latent_state="hidden"
    ),
    "… cell state, torch's biases": lambda *a: judge_forgetful(
        *a, decoder="lstm", latent_state="cell"
    ),
    "LSTM, autoregressive": judge_autoregressive,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--bins", type=int, default=100)
    parser.add_argument("--data", choices=list(COMPONENTS), default="spectra")
    parser.add_argument("--hidden-size", type=int, default=32)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {N_ROWS} rows "
          f"({options.data}) of {options.bins} bins to train and to test, "
          f"{options.epochs} epochs")  # fmt: skip
    print(f"  {'':33s} {'short of true':>14s} {'of each seed':>26s} {'active':>8s} {'KL':>7s}"
          f" {'swap':>8s} {'fit':>8s}")  # fmt: skip
    for name, contender in CONTENDERS.items():
        rows = []
        for seed in range(3):
            X, rates = counts_and_rates(options.data, options.bins, seed)
            truth = poisson.logpmf(X[N_ROWS:], rates[N_ROWS:]).sum(axis=1).mean()
            start = time.perf_counter()
            bound, mean, std, loss = contender(X[:N_ROWS], X[N_ROWS:], seed, options)
            rows.append((
                truth - bound,
                int(active_units(mean).sum()),
                latent_divergence(mean, std).sum(axis=1).mean(),
                loss.mean(),
                time.perf_counter() - start,
            ))  # fmt: skip
        gaps, active, kl, swap, fit = (list(column) for column in zip(*rows, strict=True))
        print(f"  {name:33s} {statistics.median(gaps):14.1f}"
              f" {', '.join(f'{gap:.1f}' for gap in gaps):>26s} {statistics.median(active):6.0f}/"
              f"{COMPONENTS[options.data]}"
              f" {statistics.median(kl):7.2f} {statistics.median(swap):8.0f}"
              f" {statistics.median(fit):6.0f} s", flush=True)  # fmt: skip
