"""Rivals of the network on photon correlations: a flat LSTM, and a known formula's posterior mean."""

import math
import time

import numpy as np
import pandas as pd
import torch
from torch import nn

from skae.datasets.correlations import correlations_of


class FlatLSTM(nn.Module):
    """A bidirectional LSTM over the whole sequence, in the units that the other network gets."""

    def __init__(self, hidden_size):
        super().__init__()
        self.rnn = nn.LSTM(1, hidden_size, batch_first=True, bidirectional=True)
        self.output = nn.Linear(2 * hidden_size, 1)
        self.mean = self.spread = None

    def standardise(self, clean):
        """Take the mean row and the spread around it from training curves."""
        self.mean = clean.mean(dim=0)
        self.spread = (clean - self.mean).std()

    def forward(self, x):
        """Map sequences ``(n, n_times)`` to sequences."""
        states = self.rnn(((x - self.mean) / self.spread)[..., None])[0]
        return self.mean + self.spread * self.output(states)[..., 0]

    def predict(self, X):
        """Predict sequences of NumPy."""
        with torch.inference_mode():
            parts = torch.from_numpy(X.astype(np.float32)).split(50)
            return torch.cat([self(part) for part in parts]).numpy()


def count_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def flat_with_as_many(n_parameters):
    """Return the largest flat LSTM with no more parameters."""
    size = 1
    while count_parameters(FlatLSTM(size + 1)) <= n_parameters:
        size += 1
    return FlatLSTM(size)


def train_flat(module, clean, corrupt, *, budget, seed, batch_size=16, lr=6e-3):
    """Train for as many seconds, with one cycle of the learning rate over them."""
    generator = torch.Generator().manual_seed(seed)
    clean = torch.from_numpy(clean.astype(np.float32))
    module.standardise(clean)
    optimizer = torch.optim.AdamW(module.parameters(), lr=lr, weight_decay=1e-4, fused=True)
    start, steps = time.perf_counter(), 0
    while (share := (time.perf_counter() - start) / budget) < 1.0:
        rate = share / 0.3 if share < 0.3 else 0.5 * (1 + math.cos(math.pi * (share - 0.3) / 0.7))
        optimizer.param_groups[0]["lr"] = lr * max(rate, 1e-3)
        rows = torch.randint(len(clean), (batch_size,), generator=generator)
        target = clean[rows]
        optimizer.zero_grad()
        error = (module(corrupt(target, generator)) - target) / module.spread
        error.square().mean().backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        steps += 1
    return steps


def train_flat_well(n_parameters, clean, corrupt, *, budget, seed):
    """Train a flat LSTM at the rate that is best on a fifth of the curves in a tenth of the time."""
    part = len(clean) // 5
    generator = torch.Generator().manual_seed(seed)
    held_out = corrupt(torch.from_numpy(clean[:part].astype(np.float32)), generator).numpy()

    def fitted(curves, **options):
        torch.manual_seed(seed)
        module = flat_with_as_many(n_parameters)
        train_flat(module, curves, corrupt, seed=seed, **options)
        return module

    errors = {}
    for lr in (1e-3, 3e-3, 1e-2):
        pilot = fitted(clean[part:], budget=0.1 * budget, lr=lr)
        errors[lr] = np.square(pilot.predict(held_out) - clean[:part]).mean()
    return fitted(clean, budget=budget, lr=min(errors, key=errors.get))


def fit_within(model, X, y, budget):
    """Fit for as many epochs as take ``budget`` seconds, at the pace of the second of two."""
    pace = model.set_params(max_epochs=2).fit(X, y).history_[-1, "dur"]
    model.set_params(max_epochs=max(1, int(0.97 * budget / pace)))
    start = time.perf_counter()
    model.fit(X, y)
    return model, time.perf_counter() - start


def posterior_mean(counts, tau, bounds, names, seed, n=1500, stages=14, moves=3):
    """Return the posterior mean of a histogram's parameters, by tempered sequential Monte Carlo.

    Draws of the flat prior within ``bounds`` are weighted with growing powers of the likelihood (Del
    Moral, Doucet & Jasra, 2006), resampled, and moved by Metropolis steps.
    """
    rng = np.random.default_rng(seed)
    keys = list(bounds)
    low, high = np.array([bounds[key] for key in keys]).T
    total = counts.sum()

    def log_likelihood(points):
        table = pd.DataFrame(points, columns=keys)
        table["zero_delay"] = table["jitter"] = 0.0
        curves = correlations_of(tau, table)
        curves *= total / curves.sum(axis=1, keepdims=True)
        return np.log(curves) @ counts - curves.sum(axis=1)

    points = rng.uniform(low, high, (n, len(keys)))
    values = log_likelihood(points)
    temperature = 0.0
    for _ in range(stages * 4):
        # the next power leaves half of the draws effective
        step = 1.0 - temperature
        while step > 1e-9:
            weights = np.exp(step * (values - values.max()))
            if weights.sum() ** 2 / np.square(weights).sum() > 0.5 * n:
                break
            step *= 0.7
        temperature = min(1.0, temperature + step)
        chosen = rng.choice(n, n, p=weights / weights.sum())
        points, values = points[chosen], values[chosen]
        root = np.linalg.cholesky(np.cov(points.T) + 1e-18 * np.eye(len(keys)))
        for move in range(moves):
            scale = (0.6, 0.2, 1.0)[move % 3]
            trial = points + scale * rng.standard_normal(points.shape) @ root.T
            inside = ((trial >= low) & (trial <= high)).all(axis=1)
            new = np.full(n, -np.inf)
            new[inside] = log_likelihood(trial[inside])
            accept = np.log(rng.uniform(size=n)) < temperature * (new - values)
            points[accept], values[accept] = trial[accept], new[accept]
        if temperature == 1.0:
            break
    return points.mean(axis=0)[[keys.index(name) for name in names]]
