"""Variational autoencoders of rows whose numbers may have errors of their own."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from skae._sklearn import _fit_context
from skae._warn import warn
from skae.estimators._data import warn_of_ignored
from skae.estimators._poor_fit import faults_of_rare_columns, faults_of_redshifts
from skae.estimators._spectra_rows import (
    check_gaps,
    validate_spectra,
    with_checked_errors,
    with_checked_exposure,
)
from skae.estimators._variational import BaseVAE
from skae.modules.spectra.factor_analysis import FactorModel, resized
from skae.modules.spectra.likelihoods import LIKELIHOODS
from skae.modules.spectra.linear import FactorAnalysis
from skae.training.batches import Units
from skae.transformers._messages import name_column

# Change of the mean log-likelihood of a column, in nats, at which expectation-maximisation has ended: of
# linear models, and of others, whose likelihood is not known better.
_EXACT_TOLERANCE, _TOLERANCE = 1e-6, 2e-4


class VAEWithErrors(BaseVAE):
    """An estimator with ``error_columns``, ``likelihood`` and ``missing``, and the keyword ``errors``."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None, errors=None, exposure=None, background=None):
        """Train the network, or fit a linear Gaussian model.

        Rows with errors and a linear decoder, Gaussian noise and prior, or ``decoder="redshift"``, are
        fitted by expectation-maximisation until the likelihood rises no more, ``max_epochs`` times at
        most: one epoch is one pass over all rows, ``batch_size`` or more at a time, which changes only
        the memory needed. ``lr``, ``optimizer`` and ``lr_schedule`` mean nothing then; ``early_stopping``
        keeps the model that is best on rows held out, :meth:`partial_fit` makes one step by the rows
        that it gets, and ``checkpoint`` saves behind each pass. With ``warm_start=True`` another
        ``n_components`` begins with the factors that there are.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training data.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        errors : array-like of shape (n_samples, n_features), default=None
            Standard deviation of the noise of each number, in the units of X. NaN, infinity, 0 and
            negative ones say that the number was not observed, whatever ``missing`` is.
        exposure : array-like of shape (n_samples,) or (n_samples, n_features), default=None
            Of counts (``likelihood="poisson"``): for how long, on what area, how efficiently they were
            counted, in any unit. The model is then one of rates, counts per unit of it. 0, NaN and
            infinity say that nothing was observed.
        background : array-like of shape (n_samples,) or (n_samples, n_features), default=None
            Counts that are expected beside those of the model, known, not part of it.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter, the data or the weights cannot be used; before training starts.
        DivergenceError
            If the loss becomes NaN or infinite; the last finite weights are kept.
        CheckpointError
            If ``checkpoint`` cannot be written or read; what was saved before is still there.
        """
        fresh = not (self.warm_start and hasattr(self, "net_"))
        self._first_model = None
        if not fresh and self._is_exact and self.n_components != self.n_components_:
            self._check_errors(errors, exposure, background)
            same = {"n_components": self._structure["n_components"]}
            self._check_unchanged({**self._current_structure(), **same})
            fresh, self._first_model = True, self._model_in_units_of_rows()
        try:
            beside = {"errors": errors, "exposure": exposure, "background": background}
            self._train(X, y, sample_weight, fresh=fresh, **beside)
        finally:
            del self._first_model
        if self._makes_passes and not self.early_stopping:
            self._warn_of_more_to_come()
        return self

    def _warn_of_more_to_come(self) -> None:
        """Say that expectation-maximisation was ended before the likelihood was."""
        gain = -np.diff(self.loss_curve_[-2:])
        if len(gain) and gain[0] > self._em_tolerance:
            warn(
                f"max_epochs={self.max_epochs} ended expectation-maximisation while a pass still raised "
                f"the mean log-likelihood by {gain[0]:.2g} nats: raise max_epochs, or go on with "
                "warm_start=True.",
                ConvergenceWarning,
            )

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X, y=None, sample_weight=None, errors=None, exposure=None, background=None
    ):
        """Train for one epoch on these rows, at the constant rate ``lr``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            A chunk of the training data.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, relative to the mean weight of the first chunk.
        errors : array-like of shape (n_samples, n_features), default=None
            Errors of X, as in :meth:`fit`.
        exposure, background : array-like of shape (n_samples,) or (n_samples, n_features), default=None
            Of counts, as in :meth:`fit`.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        warn_of_ignored(self)
        fresh = not hasattr(self, "net_")
        beside = {"errors": errors, "exposure": exposure, "background": background}
        return self._train(X, y, sample_weight, fresh=fresh, partial=True, **beside)

    def fit_transform(
        self, X, y=None, sample_weight=None, errors=None, exposure=None, background=None
    ):
        """Fit, and encode the same rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training data.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        errors : array-like of shape (n_samples, n_features), default=None
            Errors of X, as in :meth:`fit`.
        exposure, background : array-like of shape (n_samples,) or (n_samples, n_features), default=None
            Of counts, as in :meth:`fit`.

        Returns
        -------
        latent : ndarray of shape (n_samples, n_components)
            Means of the posteriors.
        """
        beside = errors, exposure, background
        return self.fit(X, y, sample_weight, *beside).transform(X, *beside)

    def transform(self, X, errors=None, exposure=None, background=None):
        """Encode rows.

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
        latent : ndarray of shape (n_samples, n_components)
            Means of the posteriors, in the dtype of X.
        """
        return self._apply(
            self._tensor_transform, self._validate_rows(X, errors, exposure, background)
        )

    def score(self, X, y=None, sample_weight=None, errors=None, exposure=None, background=None):
        """Return the mean of :meth:`score_samples`; higher is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        errors : array-like of shape (n_samples, n_features), default=None
            Errors of X, as in :meth:`fit`.
        exposure, background : array-like of shape (n_samples,) or (n_samples, n_features), default=None
            Of counts, as in :meth:`fit`.

        Returns
        -------
        score : float
            The (weighted) mean of the rows' scores.
        """
        scores = self.score_samples(X, errors, exposure, background)
        return self._mean_score(scores, sample_weight)

    @property
    def misfit_sigma_(self) -> np.ndarray:
        """Standard deviation of rows around what the components follow, ``(n_features,)``."""
        check_is_fitted(self, "net_")
        if not (self._makes_passes and self.module_.learns_misfit):
            raise AttributeError(
                "misfit_sigma_ is there for linear Gaussian models of rows with errors, and "
                "decoder='redshift', alone, with misfit_errors=True."
            )
        return self.module_.misfit.cpu().numpy().astype(np.float64) ** 0.5 * self.scale_

    @property
    def _misfit(self) -> np.ndarray | float:
        return getattr(self, "misfit_sigma_", 0.0)

    @property
    def _n_fluxes(self) -> int:
        """Columns of X that are no errors."""
        return self.n_features_in_ // (1 + self._errors_are_columns)

    @property
    def _is_exact(self) -> bool:
        """Whether what was fitted is a linear Gaussian model of rows with errors."""
        return isinstance(self.module_, FactorAnalysis)

    @property
    def _makes_passes(self) -> bool:
        """Whether it was fitted by expectation-maximisation."""
        return hasattr(self.module_, "begin_sums")

    @property
    def _em_tolerance(self) -> float:
        """Change of the mean log-likelihood of a row at which that ends."""
        each = _EXACT_TOLERANCE if self.decoder == "dense" else _TOLERANCE
        return each * self._n_fluxes

    @property
    def _has_converged(self) -> bool:
        """Whether expectation-maximisation ended by itself, after few steps as it may be."""
        return self._makes_passes and self.n_iter_ < self.max_epochs

    def _model_in_units_of_rows(self) -> FactorModel:
        model, unit = self.module_.plain_model, self.scale_
        center = torch.tensor(np.broadcast_to(self.center_, (self._n_fluxes,)))
        return FactorModel(
            model.centre.cpu() * unit + center,
            model.loadings.cpu() * unit,
            model.scatter.cpu() * unit**2,
        )

    def _begin_at(self, start: FactorModel, *, learns_scatter: bool) -> FactorModel:
        """Return a model to begin with: that of an earlier fit, in these units, or ``start``."""
        if (first := getattr(self, "_first_model", None)) is None:
            return start
        if len(first.centre) != self._n_fluxes:
            raise ValueError(
                f"X has {self._n_fluxes} columns of fluxes, but the fit that warm_start=True goes on "
                f"from had {len(first.centre)}: fit afresh with warm_start=False."
            )
        center = torch.tensor(np.broadcast_to(self.center_, (self._n_fluxes,)))
        unit = self.scale_
        earlier = FactorModel(
            (first.centre - center) / unit, first.loadings / unit, first.scatter / unit**2
        )
        return resized(earlier, start, learns_scatter=learns_scatter)

    @property
    def _units(self) -> Units:
        if self.has_exposure_:  # counts stay counts
            scale = np.repeat([1.0, 1.0 / self._rate_unit, 1.0], self._n_fluxes)
            return Units(0.0, scale)
        units = self._row_units
        if not self.has_errors_:
            return units
        center = np.broadcast_to(units.center, (self._n_fluxes,))
        return Units(np.concatenate([center, np.zeros(self._n_fluxes)]), units.scale)

    @property
    def _row_units(self) -> Units:
        return Units(0.0, self._rate_unit) if self.has_exposure_ else super()._units

    @property
    def _n_parts(self) -> int:
        """Numbers that rows have of each column: with an error 2, with an exposure and a background 3."""
        return 3 if self.has_exposure_ else 1 + self.has_errors_

    def _find_faults(self, X: np.ndarray, y: np.ndarray | None, is_short: bool) -> Iterator[str]:
        yield from super()._find_faults(X, y, is_short)
        if self.has_errors_:
            names = partial(name_column, self)
            yield from faults_of_rare_columns(self._n_seen, self.n_components_, names)
        if self.decoder == "redshift":
            yield from faults_of_redshifts(self._apply(self.module_.encode, X)[:, 0])

    def _validate_training_data(
        self,
        X: Any,
        y: Any,
        *,
        reset: bool,
        errors: Any = None,
        exposure: Any = None,
        background: Any = None,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        if reset:
            self._errors_are_columns = bool(self.error_columns)
        has_errors = self._errors_are_columns or errors is not None
        if not reset:
            self._check_errors(errors, exposure, background)
        counts = LIKELIHOODS[self.likelihood].takes_counts
        if has_errors and counts:
            raise ValueError(
                "likelihood='poisson' takes no errors: the noise of counts follows from their mean. Use "
                "likelihood='gaussian'."
            )
        beside = exposure is not None, background is not None
        if any(beside) and not counts:
            raise ValueError(
                f"likelihood={self.likelihood!r} takes no exposure and no background, which counts have. "
                "Use likelihood='poisson', or errors= for rates."
            )
        self.has_errors_, self.has_exposure_, self._given_of_counts = (
            has_errors,
            any(beside),
            beside,
        )
        if any(beside):
            X = with_checked_exposure(self, X, exposure, background, reset=reset)
            if reset:
                self._rate_unit = 1.0 / float(np.nanmean(X[:, X.shape[1] // 3 : -X.shape[1] // 3]))
            return X, None
        if has_errors:
            options = {"reset": reset, "columns": self._errors_are_columns}
            X, self._n_seen = with_checked_errors(self, X, errors, **options)
            return X, None
        X = self._check_rows(X, counts, self.missing == "mask", reset=reset)
        if self.missing == "mask" and reset:
            check_gaps(self, X, axis=0)
        return X, None

    def _validate_rows(
        self, X: Any, errors: Any = None, exposure: Any = None, background: Any = None
    ) -> np.ndarray:
        check_is_fitted(self, "net_")
        self._check_errors(errors, exposure, background)
        if self.has_exposure_:
            return with_checked_exposure(self, X, exposure, background, reset=False)
        if self.has_errors_:
            options = {"reset": False, "columns": self._errors_are_columns}
            return with_checked_errors(self, X, errors, **options)[0]
        likelihood = self.module_.likelihood  # what was fitted, whatever the parameters are by now
        return self._check_rows(X, likelihood.takes_counts, likelihood.has_gaps, reset=False)

    def _check_errors(self, errors: Any, exposure: Any = None, background: Any = None) -> None:
        """Refuse rows without errors where the model was fitted to such with them, and the other way."""
        self._check_exposure(exposure, background)
        if self._errors_are_columns or self.has_errors_ == (errors is not None):
            return
        if self.has_errors_:
            raise ValueError(
                "errors are missing: this SpectraVAE was fitted to rows with errors of their own, and "
                "guesses none. Pass errors=, of the shape of X."
            )
        raise ValueError(
            "errors were given, but this SpectraVAE was fitted without: fit it afresh with errors=."
        )

    def _check_exposure(self, exposure: Any, background: Any) -> None:
        """The same of exposures and backgrounds."""
        given = {"exposure": exposure is not None, "background": background is not None}
        for (name, is_given), was_given in zip(given.items(), self._given_of_counts, strict=True):
            if is_given != was_given:
                raise ValueError(
                    f"{name} is missing: this SpectraVAE was fitted with it, and guesses none. Pass "
                    f"{name}=, of each row or of each number in it."
                    if was_given
                    else f"{name} was given, but this SpectraVAE was fitted without: fit it afresh."
                )

    def _check_sampled_exposure(
        self, exposure: Any, background: Any, shape: tuple[int, int], *, noise: bool
    ) -> np.ndarray | None:
        """Return exposures and backgrounds with which counts are to be drawn, beside one another."""
        if not noise:
            if exposure is not None or background is not None:
                raise ValueError("noise=False draws rates: leave exposure and background out.")
            return None
        self._check_exposure(exposure, background)
        if not self.has_exposure_:
            return None
        nothing = np.zeros(shape)
        given = with_checked_exposure(self, nothing, exposure, background, reset=False)
        return (given / self._units.scale)[:, shape[1] :]

    def _expected_counts(self, mean: np.ndarray, exposure: Any, background: Any) -> np.ndarray:
        """Return the counts that are expected where rates are ``mean``."""
        self._check_exposure(exposure, background)
        given = with_checked_exposure(self, np.zeros_like(mean), exposure, background, reset=False)
        _, exposure, background = np.hsplit(given, 3)
        return exposure * mean + background

    def _check_rows(self, X: Any, counts: bool, gaps: bool, *, reset: bool) -> np.ndarray:
        return validate_spectra(self, X, counts=counts, gaps=gaps, reset=reset)
