"""Base of variational autoencoders: posteriors, samples, likelihood bounds as scores."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from sklearn.utils.validation import check_array, check_is_fitted
from skorch.callbacks import Callback
from torch import Tensor

from skae.estimators._autoencoder import BaseAutoencoder
from skae.estimators._data import check_count, to_host
from skae.estimators._poor_fit import faults_of_neighbours, faults_of_widths
from skae.estimators._spectra_rows import check_sampled_errors
from skae.training.batches import PLAIN, Rows, Units
from skae.training.seeding import draw_seed
from skae.training.state import Run
from skae.transformers._messages import name_column

# Draws over which a bound is averaged, if its expectation has no closed form.
_DRAWS = 64


class BaseVAE(BaseAutoencoder):
    """An estimator whose module is a variational autoencoder of rows."""

    #: numbers of a row that are no errors, and how many belong to each with those
    _n_fluxes: int
    _n_parts: int

    def posterior(self, X, errors=None, exposure=None, background=None):
        """Return the posterior of the latent coordinates, Gaussian.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, in the units of the training data.
        errors : array-like of shape (n_samples, n_features), default=None
            Their errors, as in :meth:`fit`.
        exposure, background : array-like of shape (n_samples,) or (n_samples, n_features), default=None
            Of counts, as in :meth:`fit`.

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

        return self._apply(posterior, self._validate_rows(X, errors, exposure, background))

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

    def score_samples(
        self, X, errors=None, exposure=None, background=None, *, n_importance=1, n_draws=_DRAWS
    ):
        """Bound the log-likelihood of each row from below, in nats; a low score marks an anomaly.

        The bound is the ELBO, with ``n_importance`` > 1 the importance-weighted one. Both count every
        constant, and hold for rows in the units of X. Where the ELBO has a closed form no draws are made;
        otherwise all rows share the same ones, in every call.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        errors : array-like of shape (n_samples, n_features), default=None
            Their errors, as in :meth:`fit`.
        exposure, background : array-like of shape (n_samples,) or (n_samples, n_features), default=None
            Of counts, as in :meth:`fit`.
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
        X = self._validate_rows(X, errors, exposure, background)
        module = self.module_
        return self._apply(lambda x: module.bound(x, int(n_importance), int(n_draws)), X)

    @property
    def _exportable(self) -> tuple[str, ...]:
        if self._n_parts > 1:
            return ("inverse_transform",)  # a graph takes rows, nothing beside them
        if self.module_.is_closed:
            return *super()._exportable, "score_samples"
        return super()._exportable  # 64 draws would be as many decoders

    def _tensor_score_samples(self, x: Tensor) -> Tensor:
        return self.module_.bound(x, 1, _DRAWS)

    def reconstruct(self, X, return_std=False, errors=None, exposure=None, background=None):
        """Return the mean of each row that its posterior expects.

        ``inverse_transform(transform(X))`` is the mean at the posterior's centre, this the average over
        the posterior; with a linear decoder and Gaussian noise they are the same.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        return_std : bool, default=False
            Return the standard deviation as well.
        errors : array-like of shape (n_samples, n_features), default=None
            Errors of X, as in :meth:`fit`.
        exposure, background : array-like of shape (n_samples,) or (n_samples, n_features), default=None
            Of counts, as in :meth:`fit`.

        Returns
        -------
        mean : ndarray of shape (n_samples, n_features)
            Rows without noise, by the same draws for all rows; with exposures their rates.
        std : ndarray of shape (n_samples, n_features)
            Standard deviation that the posterior leaves to the mean; only with ``return_std=True``.
        """
        mean, std = self._reconstruct(self._validate_rows(X, errors, exposure, background))
        return (mean, std) if return_std else mean

    def _reconstruct(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._apply(self._mean_and_std, X, gives=(self._row_units, self._spread_units))

    @property
    def _spread_units(self) -> Units:
        """Units of standard deviations."""
        return Units(0.0, self._row_units.scale)

    def _mean_and_std(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.module_.mean_and_std(x, _DRAWS)

    def _find_faults(self, X: np.ndarray, y: np.ndarray | None, is_short: bool) -> Iterator[str]:
        likelihood, varying = self.module_.likelihood, self._spread_ > 0.0
        if not varying.any():
            return
        counted = likelihood.takes_counts
        d = self._n_fluxes
        if counted and np.mean(X[:, :d] % 1.0 > 0.0) > 0.01:  # NaN is not
            row, column = np.argwhere(X[:, :d] % 1.0 > 0.0)[0]
            yield (
                f"X does not hold counts, but {X[row, column]:.6g} in {name_column(self, int(column))}. "
                "Counts are whole: pass them as they were counted, or use likelihood='gaussian'."
            )
        mean = self._apply(
            lambda x: self.module_.decode(self.module_.encode(x)), X, gives=self._row_units
        )
        pulls = self._pulls(X, mean)[:, varying]
        yield from faults_of_widths(pulls, is_short, counted=counted)
        yield from faults_of_neighbours(pulls)

    def sample(
        self,
        n_samples=1,
        noise=True,
        random_state=None,
        errors=None,
        exposure=None,
        background=None,
    ):
        """Draw rows from the model.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        noise : bool, default=True
            Draw what would be observed. False returns the mean of each row, without noise.
        random_state : int, RandomState instance or None, default=None
            An integer makes the result reproducible; None takes one draw from NumPy's global state.
        errors : array-like of shape (n_samples, n_features) or (n_features,), default=None
            Errors with which rows are observed, which the noise is added to in squares: needed for noise
            where the model was fitted to rows with errors, and refused elsewhere. Pixels that were not
            seen are NaN. Where there is a ``misfit_sigma_``, noise includes it.
        exposure, background : array-like of shape (n_samples,) or (n_samples, n_features), default=None
            With which counts are made: as many of the two as the model was fitted with.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Rows, in the units of the training data; with ``noise=False`` rates where these had exposures.
        """
        check_is_fitted(self, "net_")
        check_count("n_samples", n_samples)
        shape = n_samples, self._n_fluxes
        errors = check_sampled_errors(errors, shape, self.has_errors_, noise=noise)
        beside = self._check_sampled_exposure(exposure, background, shape, noise=noise)
        rng = np.random.RandomState(draw_seed(random_state))
        normal = rng.standard_normal((n_samples, self.n_components_))
        uniform = rng.uniform(size=(n_samples, 1))
        module, k = self.module_, self.n_components_

        def decode(draws: Tensor) -> Tensor:
            return module.decode(module.prior.transform(draws[:, :k], draws[:, k].contiguous()))

        drawn = self._apply(decode, np.hstack([normal, uniform]), PLAIN)
        if not noise:
            return self._row_units.undo(drawn)
        generator = torch.Generator(self.device_).manual_seed(draw_seed(rng))
        likelihood, d = module.likelihood, drawn.shape[1]

        def observe(rows: Tensor) -> Tensor:
            return likelihood.sample(rows[:, :d], likelihood.noise_of(rows), generator)

        if beside is not None:
            counts = self._apply(observe, np.hstack([drawn, beside]), PLAIN)
            return np.where(np.isnan(beside[:, :d]), np.nan, counts)
        if errors is None:
            return self._row_units.undo(self._apply(observe, drawn, PLAIN))
        errors = np.hypot(errors, self._misfit)
        drawn = self._apply(observe, np.hstack([drawn, errors / self.scale_]), PLAIN)
        return np.where(np.isnan(errors), np.nan, self._row_units.undo(drawn))

    def noise_std(self, mean, errors=None, exposure=None, background=None):
        """Return the standard deviation of the noise around mean rows.

        Parameters
        ----------
        mean : array-like of shape (n_samples, n_features)
            Mean rows, as :meth:`reconstruct` or :meth:`inverse_transform` return them.
        errors : array-like of shape (n_samples, n_features), default=None
            Errors of the rows, which the noise is added to in squares. NaN gives NaN.
        exposure, background : array-like of shape (n_samples,) or (n_samples, n_features), default=None
            Of counts, as in :meth:`fit`.

        Returns
        -------
        std : ndarray of shape (n_samples, n_features)
            ``noise_sigma_``, or with "poisson" the square root of the mean, of counts where rows have
            exposures.
        """
        check_is_fitted(self, "net_")
        mean = check_array(to_host(mean), dtype=[np.float64, np.float32])
        if self.has_exposure_:
            return np.sqrt(self._expected_counts(mean, exposure, background))
        units = self._row_units, self._spread_units
        std = self._apply(self.module_.likelihood.std, mean, *units)
        return std if errors is None else np.hypot(std, errors).astype(std.dtype)

    def pulls(self, X, errors=None, exposure=None, background=None):
        """Return how far each number is from its reconstruction, in standard deviations of the noise.

        A likelihood sums over the row, so a spike in one bin drowns in the noise of the others; it
        stands out in ``abs(pulls(X)).max(axis=1)``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        errors : array-like of shape (n_samples, n_features), default=None
            Their errors, as in :meth:`fit`.
        exposure, background : array-like of shape (n_samples,) or (n_samples, n_features), default=None
            Of counts, as in :meth:`fit`.

        Returns
        -------
        pulls : ndarray of shape (n_samples, n_features)
            ``(X - mean) / noise_std(mean)`` with the ``mean`` of :meth:`reconstruct`; NaN where nothing
            was observed. Where there is a ``misfit_sigma_``, it is added to the noise in squares: what
            too few components miss in every row is no anomaly.
        """
        X = self._validate_rows(X, errors, exposure, background)
        mean, _ = self._reconstruct(X)
        return self._pulls(X, mean, self._misfit)

    #: standard deviation of rows around what the model follows, beyond their noise
    _misfit: np.ndarray | float = 0.0

    def _pulls(
        self, X: np.ndarray, mean: np.ndarray, misfit: np.ndarray | float = 0.0
    ) -> np.ndarray:
        """Return pulls of rows that were checked, with what stands behind their numbers."""
        if X.shape == mean.shape:
            return (X - mean) / self.noise_std(mean)
        if self.has_exposure_:
            counts, exposure, background = np.hsplit(X, 3)
            expected = exposure * mean + background
            return (counts - expected) / np.sqrt(expected)
        values, errors = np.hsplit(X, 2)
        return (values - mean) / np.hypot(self.noise_std(mean, errors), misfit).astype(mean.dtype)


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
