"""Base of variational autoencoders: checks of rows, posteriors, samples, likelihood bounds as scores."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_array, check_is_fitted
from skorch.callbacks import Callback
from torch import Tensor

from skae.estimators._autoencoder import BaseAutoencoder
from skae.estimators._data import blocks, check_count, check_finite_rows, to_host, validate_table
from skae.training.batches import PLAIN, Rows, Units
from skae.training.seeding import draw_seed
from skae.training.state import Run
from skae.transformers._messages import name_column

# Draws over which a bound is averaged, if its expectation has no closed form.
_DRAWS = 64

# Mean squared pulls above which a fit is poor, and one of few steps; and below which it is.
_WIDE, _WIDE_OF_SHORT, _NARROW = 2.0, 1.25, 0.5


class BaseVAE(BaseAutoencoder):
    """An estimator whose module is a variational autoencoder of rows."""

    def posterior(self, X):
        """Return the posterior of the latent coordinates, Gaussian and independent.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, in the units of the training data.

        Returns
        -------
        mean : ndarray of shape (n_samples, n_components)
            Posterior means; what :meth:`transform` returns.
        std : ndarray of shape (n_samples, n_components)
            Posterior standard deviations.
        """
        module = self.module_

        def posterior(x: Tensor) -> tuple[Tensor, Tensor]:
            mean, log_std = module.posterior(x)
            return mean, torch.exp(log_std)

        return self._apply(posterior, self._validate_rows(X))

    @property
    def _settled_from(self) -> float:
        # until then the model is trained for another bound than it is judged by
        return self.beta_warm_up

    @property
    def _plans_epochs(self) -> bool:
        return self.beta_warm_up > 0.0

    def _plan(self, epochs: int, X: np.ndarray, validation: Rows | None) -> Run:
        run = super()._plan(epochs, X, validation)
        # without a warm-up as well: a fit before may have ended in the middle of one
        warm_up = ("skae_beta_warm_up", BetaWarmUp(self.beta_warm_up, epochs))
        return replace(run, callbacks=[warm_up, *run.callbacks])

    def score_samples(self, X, *, n_importance=1, n_draws=_DRAWS):
        """Bound the log-likelihood of each row from below, in nats; a low score marks an anomaly.

        The bound is the ELBO, with ``n_importance`` > 1 the importance-weighted one. Both count every
        constant, and hold for rows in the units of X. Where the ELBO has a closed form no draws are made;
        otherwise all rows share the same ones, in every call.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        n_importance : int, default=1
            Draws that are weighted against one another. The more, the tighter the bound: with ``n_draws``
            held fixed, and divisible by it, from 2 on each doubling raises the score of every row.
        n_draws : int, default=64
            Draws over which the bound is averaged, in groups of ``n_importance``; no fewer than that are
            made.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Bounds on the log-likelihood, in nats.
        """
        check_count("n_importance", n_importance)
        check_count("n_draws", n_draws)
        X = self._validate_rows(X)
        module = self.module_
        return self._apply(lambda x: module.bound(x, int(n_importance), int(n_draws)), X)

    @property
    def _exportable(self) -> tuple[str, ...]:
        if self.module_.is_closed:
            return *super()._exportable, "score_samples"
        return super()._exportable  # 64 draws would be as many decoders

    def _tensor_score_samples(self, x: Tensor) -> Tensor:
        return self.module_.bound(x, 1, _DRAWS)

    def reconstruct(self, X, return_std=False):
        """Return the mean of each row that its posterior expects.

        ``inverse_transform(transform(X))`` is the mean at the posterior's centre, this the average over
        the posterior; with a linear decoder and Gaussian noise they are the same.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        return_std : bool, default=False
            Return the standard deviation as well.

        Returns
        -------
        mean : ndarray of shape (n_samples, n_features)
            Rows without noise, by the same draws for all rows.
        std : ndarray of shape (n_samples, n_features)
            Standard deviation that the posterior leaves to the mean; only with ``return_std=True``.
        """
        mean, std = self._reconstruct(self._validate_rows(X))
        return (mean, std) if return_std else mean

    def _reconstruct(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._apply(self._mean_and_std, X, gives=(self._units, self._spread_units))

    @property
    def _spread_units(self) -> Units:
        """Units of standard deviations."""
        return Units(0.0, self.scale_)

    def _mean_and_std(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.module_.mean_and_std(x, _DRAWS)

    def _find_faults(self, X: np.ndarray, y: np.ndarray | None, is_short: bool) -> Iterator[str]:
        likelihood, varying = self.module_.likelihood, self._spread_ > 0.0
        if not varying.any():
            return
        if likelihood.takes_counts and np.mean(X % 1.0 > 0.0) > 0.01:  # NaN is not
            row, column = np.argwhere(X % 1.0 > 0.0)[0]
            yield (
                f"X does not hold counts, but {X[row, column]:.6g} in {name_column(self, int(column))}. "
                "Counts are whole: pass them as they were counted, or use likelihood='gaussian'."
            )
        mean = self._apply(
            lambda x: self.module_.decode(self.module_.encode(x)), X, gives=self._units
        )
        std = self._apply(likelihood.std, mean, gives=self._spread_units)
        pulls = ((X - mean) / std)[:, varying]
        squares = np.nanmean(np.square(pulls, dtype=np.float64), axis=1)
        squares = squares[~np.isnan(squares)]  # of rows in which nothing that varies was seen
        typical, mean = np.median(squares), squares.mean()  # a few outliers make no poor fit
        limit = _WIDE_OF_SHORT if is_short else _WIDE
        if min(typical, mean) < limit and max(typical, mean) > _NARROW:
            return
        remedy = (
            "Where counts were scaled, subtracted from or amplified, use likelihood='gaussian'; else try "
            "more latent coordinates or hidden layers"
            if likelihood.takes_counts
            else "Give noise_sigma in the units of X, or let it be learnt; else try more latent "
            "coordinates or hidden layers"
        )
        yield (
            f"The mean squared pull is {mean:.3g} and should be 1: residuals are "
            f"{'larger' if mean > 1.0 else 'smaller'} than the noise. {remedy}."
        )

    def sample(self, n_samples=1, noise=True, random_state=None):
        """Draw rows from the model.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        noise : bool, default=True
            Draw what would be observed. False returns the mean of each row, without noise.
        random_state : int, RandomState instance or None, default=None
            An integer makes the result reproducible; None takes one draw from NumPy's global state.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Rows, in the units of the training data.
        """
        check_is_fitted(self, "net_")
        check_count("n_samples", n_samples)
        rng = np.random.RandomState(draw_seed(random_state))
        normal = rng.standard_normal((n_samples, self.n_components_))
        uniform = rng.uniform(size=(n_samples, 1))
        module, k = self.module_, self.n_components_

        def decode(draws: Tensor) -> Tensor:
            return module.decode(module.prior.transform(draws[:, :k], draws[:, k].contiguous()))

        drawn = self._apply(decode, np.hstack([normal, uniform]), PLAIN)
        if noise:
            generator = torch.Generator(self.device_).manual_seed(draw_seed(rng))
            likelihood = module.likelihood
            drawn = self._apply(lambda mean: likelihood.sample(mean, generator), drawn, PLAIN)
        return self._units.undo(drawn)

    def noise_std(self, mean):
        """Return the standard deviation of the noise around mean rows.

        Parameters
        ----------
        mean : array-like of shape (n_samples, n_features)
            Mean rows, as :meth:`reconstruct` or :meth:`inverse_transform` return them.

        Returns
        -------
        std : ndarray of shape (n_samples, n_features)
            ``noise_sigma_``, or with "poisson" the square root of the mean.
        """
        check_is_fitted(self, "net_")
        mean = check_array(to_host(mean), dtype=[np.float64, np.float32])
        return self._apply(self.module_.likelihood.std, mean, gives=self._spread_units)

    def pulls(self, X):
        """Return how far each number is from its reconstruction, in standard deviations of the noise.

        A likelihood sums over the row, so a spike in one bin drowns in the noise of the others; it
        stands out in ``abs(pulls(X)).max(axis=1)``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        pulls : ndarray of shape (n_samples, n_features)
            ``(X - mean) / noise_std(mean)`` with the ``mean`` of :meth:`reconstruct`; NaN where X has it.
        """
        X = self._validate_rows(X)
        mean, _ = self._reconstruct(X)
        return (X - mean) / self.noise_std(mean)


class BetaWarmUp(Callback):
    """Let the weight of the divergence rise in even steps, epoch by epoch.

    Parameters
    ----------
    share : float
        Share of the epochs over which it rises.
    epochs : int
        Epochs of the fit.
    """

    def __init__(self, share: float, epochs: int):
        self.share = share
        self.epochs = epochs

    def on_epoch_begin(self, net, **_):
        """Set the weight of this epoch."""
        module = net.module_
        rising = max(1.0, self.share * self.epochs)
        epoch = round(net.progress_ * self.epochs)
        module.beta.fill_(module.full_beta * min(1.0, (epoch + 1) / rising))


def validate_spectra(
    estimator: Any, X: Any, *, counts: bool, gaps: bool, reset: bool
) -> np.ndarray:
    """Check X as scikit-learn does, and that it holds counts, or rows with gaps, as the model asks."""
    X = validate_table(estimator, X, reset=reset, gaps=True)
    if not gaps:
        check_finite_rows(
            X,
            lambda row, column: f"row {row}, {name_column(estimator, column)}",
            "Fit with missing='mask' to take NaN for what was not observed, or leave these rows out.",
        )
    if counts:
        check_counts(estimator, X)
    if gaps:
        check_gaps(estimator, X, axis=1)
    return X


def check_counts(estimator: Any, X: np.ndarray) -> None:
    """Refuse negative numbers where the likelihood is one of counts; NaN is let through."""
    n_bad, first = 0, None
    for start, rows in blocks(X):
        bad = rows < 0
        n_bad += int(bad.sum())
        if first is None and bad.any():
            row, column = np.argwhere(bad)[0]
            first = start + int(row), int(column)
    if first is not None:
        raise ValueError(
            f"Negative values in data passed to {type(estimator).__name__}(likelihood='poisson'): "
            f"{n_bad} of {X.size}, the first is {X[first]:.6g} in row {first[0]}, "
            f"{name_column(estimator, first[1])}. Counts are never negative: pass them as they were "
            "counted, or use likelihood='gaussian' for what was subtracted from or scaled."
        )


def check_gaps(estimator: Any, X: np.ndarray, *, axis: int) -> None:
    """Refuse rows (axis 1) or columns (axis 0) of which nothing was observed."""
    parts = [np.isnan(rows).all(axis=axis) for _, rows in blocks(X)]
    empty = np.concatenate(parts) if axis == 1 else np.logical_and.reduce(parts)
    if empty.any():
        first = int(empty.argmax())
        what = "rows" if axis == 1 else "columns"
        where = f"row {first}" if axis == 1 else name_column(estimator, first)
        raise ValueError(
            f"X has {empty.sum()} {what} of nothing but NaN, the first is {where}: there is nothing to "
            f"learn from or to encode. Leave these {what} out."
        )


def check_noise(sigma: Any, n_features: int, unit: float | None = None) -> np.ndarray:
    """Return the standard deviation of the noise, ``(1,)`` or ``(n_features,)``.

    Refuse what is not positive and finite, in single precision once the unit of the network is known.
    """
    array = np.atleast_1d(np.asarray(sigma, dtype=np.float64))
    if array.shape not in ((1,), (n_features,)):
        raise ValueError(
            f"noise_sigma has shape {array.shape}, but X has {n_features} columns: it needs one "
            f"number, or one for each column, shape ({n_features},)."
        )
    dtype = np.float64 if unit is None else np.float32
    with np.errstate(over="ignore", under="ignore"):
        used = (array / (unit or 1.0)).astype(dtype)
    bad = ~((used > np.finfo(dtype).tiny) & np.isfinite(used))
    if bad.any():
        first = int(bad.argmax())
        where = "" if array.size == 1 else f" at column {first} (and {bad.sum() - 1} more)"
        raise ValueError(
            f"noise_sigma={array[first]:.6g}{where} must be positive and finite in float32: it is the "
            "standard deviation of the noise, in the units of X. Leave out columns without one."
        )
    return array
