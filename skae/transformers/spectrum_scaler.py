"""SpectrumScaler and with_errors: fluxes with their errors in one table, scaled together.

Surveys give each pixel of each spectrum an error. A step of a Pipeline that scales fluxes must scale
these too, so both travel in one table, fluxes first.
"""

from functools import partial
from typing import Any

import numpy as np
from sklearn.base import OneToOneFeatureMixin
from sklearn.utils.validation import check_array, check_is_fitted

from skae._numbers import refuse_dates
from skae._parameters import parameter
from skae._sklearn import StrOptions
from skae.transformers._base import TableTransformer
from skae.transformers._messages import name_column

# Share of the brightness of absolute fluxes that the fluxes' own must have.
_LEAST_SHARE = 1.0 / 3.0

# Numbers that are looked at together, so that memory-mapped tables are read in parts.
_NUMBERS_AT_ONCE = 1 << 22


def with_errors(flux, errors, *, out=None):
    """Put fluxes and their errors into one table, for ``error_columns=True``.

    Parameters
    ----------
    flux : array-like of shape (n_samples, n_features)
        Fluxes, or whatever was measured; NaN where nothing was.
    errors : array-like of shape (n_samples, n_features) or (n_features,)
        Standard deviations, in the units of ``flux``. NaN, infinite, 0 or negative ones mark pixels that
        were not seen.
    out : ndarray of shape (n_samples, 2 * n_features), default=None
        Where to write, a memory-map say.

    Returns
    -------
    X : ndarray or DataFrame of shape (n_samples, 2 * n_features)
        Fluxes, then errors, NaN where nothing was seen; a DataFrame where ``flux`` is one and there is no
        ``out``. It is ``out`` where that is given.

    Raises
    ------
    ValueError
        If shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import skae
    >>> skae.with_errors(np.array([[1.0, 2.0]]), np.array([[0.1, 0.0]]))
    array([[1. , 2. , 0.1, nan]])
    """
    names = _names_of(flux)
    table, index = flux, getattr(flux, "index", None)
    flux, errors = _numbers_of(flux), _numbers_of(errors)
    if flux.ndim != 2 or errors.shape not in (flux.shape, flux.shape[1:]):
        raise ValueError(
            f"flux has shape {flux.shape} and errors {errors.shape}: give an error for each flux, "
            "(n_samples, n_features), or one for each column, (n_features,)."
        )
    n, d = flux.shape
    is_single = flux.dtype == np.float32 and errors.dtype == np.float32
    if out is None:
        X = np.empty((n, 2 * d), dtype=np.float32 if is_single else np.float64)
    elif getattr(out, "shape", None) != (n, 2 * d):
        raise ValueError(
            f"out has shape {getattr(out, 'shape', None)}, but the table has {(n, 2 * d)}."
        )
    else:
        X = out
    step = max(1, _NUMBERS_AT_ONCE // max(1, d))
    for start in range(0, n, step):
        rows = slice(start, start + step)
        sigma = np.array(np.broadcast_to(errors, flux.shape)[rows], dtype=X.dtype)
        with np.errstate(invalid="ignore"):
            sigma[~(np.isfinite(sigma) & (sigma > 0.0))] = np.nan
        X[rows, :d], X[rows, d:] = flux[rows], sigma
        # what stands where nothing was seen may be anything
        unseen = np.isnan(sigma) & np.isinf(X[rows, :d])
        X[rows, :d][unseen] = np.nan
    if names is None or out is not None:
        return X
    return type(table)(X, index=index, columns=[*names, *(f"{name}_error" for name in names)])


class SpectrumScaler(OneToOneFeatureMixin, TableTransformer):
    """Divide spectra, and their errors, by a number for each row or for each column.

    Parameters
    ----------
    by : {"row", "column"}, default="row"
        Whether each spectrum is divided by its own brightness, so that bright and faint ones of one
        shape are alike, or each column by its standard deviation in training.
    statistic : {"weighted_median", "median", "mean"}, default="weighted_median"
        What a row's brightness is: the size of the median or the mean of its fluxes, or of the median
        weighted by one over the errors, the number closest to all fluxes in units of their errors. Noisy
        pixels then hardly count, and the brightness of faint rows is better known; without errors it is
        the plain median. Where brightness is less than a third of that of absolute fluxes, as in a row of
        noise around zero, it is the latter, which noise makes larger in any faint row. A row of zeros
        stays as it is.
    error_columns : bool, default=False
        Whether X holds errors behind fluxes, as :func:`skae.with_errors` makes it. They are divided by
        the same numbers. Pixels whose flux or error is NaN were not seen, and do not count.

    Attributes
    ----------
    scale_ : ndarray of shape (n_fluxes,) or None
        Standard deviation of each column of fluxes, 1 where it is constant; None with ``by="row"``.
    {shared_attributes}

    See Also
    --------
    skae.with_errors : Fluxes and errors in one table.
    skae.SpectraVAE : Takes such a table with ``error_columns=True``.

    Notes
    -----
    With ``by="row"`` nothing is left of how bright a row was, and ``inverse_transform`` returns rows in
    units of their brightness, as they are. It takes fluxes alone as well, so that :func:`skae.sample`
    can bring back what a model of fluxes and errors draws.

    Examples
    --------
    >>> import numpy as np
    >>> import skae
    >>> X = skae.with_errors(np.array([[1.0, 2.0, 4.0]]), np.array([[0.1, 0.1, 0.2]]))
    >>> skae.SpectrumScaler(error_columns=True).fit_transform(X)
    array([[0.5 , 1.  , 2.  , 0.05, 0.05, 0.1 ]])
    """

    by: Any = parameter(default="row", allowed=StrOptions({"row", "column"}), kw_only=False)
    statistic: Any = parameter(
        default="weighted_median", allowed=StrOptions({"weighted_median", "median", "mean"})
    )
    error_columns: Any = parameter(default=False, allowed="boolean")

    def transform(self, X):
        """Divide fluxes and errors.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Fluxes, and behind them their errors with ``error_columns=True``.

        Returns
        -------
        X_scaled : ndarray of shape (n_samples, n_features)
            The same, scaled, in the dtype of X.
        """
        check_is_fitted(self, "n_features_in_")
        X = self._validate(X, reset=False)
        flux, errors = self._split(X)
        scale = self._brightness(flux, errors) if self.by == "row" else self.scale_
        parts = [flux / scale] if errors is None else [flux / scale, errors / scale]
        return np.hstack(parts).astype(X.dtype, copy=False)

    def inverse_transform(self, X):
        """Multiply by the spreads of columns again; rows stay in units of their brightness.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, n_fluxes)
            Scaled fluxes, with or without their errors.

        Returns
        -------
        X_back : ndarray of shape (n_samples, n_features) or (n_samples, n_fluxes)
            Fluxes, and errors where X had them.
        """
        check_is_fitted(self, "n_features_in_")
        n_fluxes = self.n_features_in_ // (1 + self.error_columns)
        refuse_dates(X)
        X = check_array(X, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan")
        if X.shape[1] not in (n_fluxes, self.n_features_in_):
            raise ValueError(
                f"X has {X.shape[1]} columns: give {n_fluxes} of fluxes"
                + (f", or {self.n_features_in_} with errors." if self.error_columns else ".")
            )
        if self.by == "row":
            return X.copy()
        scale = np.tile(np.asarray(self.scale_), X.shape[1] // n_fluxes)
        return (X * scale).astype(X.dtype, copy=False)

    def _learn(self, X):
        if self.error_columns and X.shape[1] % 2:
            raise ValueError(
                f"X has {X.shape[1]} columns, which are not as many errors as fluxes: make it by "
                "skae.with_errors(flux, errors), or use error_columns=False."
            )
        flux, errors = self._split(X)
        self.scale_ = None
        if self.by == "column":
            self.scale_ = _spread(_seen(flux, errors))

    def _split(self, X):
        """Return fluxes, and errors or None, after a look at these."""
        if not self.error_columns:
            return X, None
        flux, errors = np.hsplit(X, 2)
        if (errors <= 0.0).any():
            row, column = np.argwhere(errors <= 0.0)[0]
            raise ValueError(
                f"X has errors that are not positive, {errors[row, column]:.6g} in row {row}, "
                f"{name_column(self, flux.shape[1] + int(column))}: put skae.with_errors(flux, errors) "
                "in front, which marks what was not seen by NaN, and no other scaler."
            )
        return flux, errors

    def _brightness(self, flux, errors):
        seen = _seen(flux, errors)
        seen[np.isnan(seen).all(axis=1)] = 0.0
        if self.statistic == "mean":
            typical = partial(np.nanmean, axis=1)
        elif self.statistic == "median" or errors is None:
            typical = partial(np.nanmedian, axis=1)
        else:
            typical = partial(_weighted_median, weight=1.0 / errors)
        scale, of_sizes = np.abs(typical(seen)), typical(np.abs(seen))
        scale = np.where(scale > _LEAST_SHARE * of_sizes, scale, of_sizes)
        # more than half of a row may be zeros
        scale = np.where(scale > 0.0, scale, np.nanmean(np.abs(seen), axis=1))
        return np.where(scale > 0.0, scale, 1.0)[:, None]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def _seen(flux, errors):
    """Return fluxes in float64, NaN where nothing was seen."""
    flux = flux.astype(np.float64)
    return flux if errors is None else np.where(np.isnan(errors), np.nan, flux)


def _weighted_median(values, weight):
    """Return the median of each row by weights; values that are NaN do not count."""
    order = np.argsort(values, axis=1)
    weight = np.where(np.isnan(values) | np.isnan(weight), 0.0, weight)
    total = np.take_along_axis(weight, order, axis=1).cumsum(axis=1, dtype=np.float64)
    half, rounding = 0.5 * total[:, -1:], 1.0 + 1e-12
    # where both sides weigh the same it is midway
    last = values.shape[1] - 1
    places = [(total * rounding < half).sum(axis=1), (total <= half * rounding).sum(axis=1)]
    at = np.take_along_axis(order, np.minimum(np.stack(places, axis=1), last), axis=1)
    return np.take_along_axis(values, at, axis=1).mean(axis=1)


def _spread(flux):
    """Return the standard deviation of each column, 1 where it is constant or was never seen."""
    seen = ~np.isnan(flux)
    n = np.maximum(seen.sum(axis=0), 1)
    filled = np.where(seen, flux, 0.0)
    mean = filled.sum(axis=0) / n
    variance = np.where(seen, np.square(filled - mean), 0.0).sum(axis=0) / n
    rounding = 10.0 * np.finfo(np.float64).eps * np.abs(mean)
    spread = np.sqrt(variance)
    return np.where(spread > rounding, spread, 1.0)


def _names_of(flux):
    """Return the names of the columns of a pandas DataFrame, else None."""
    columns = getattr(flux, "columns", None)
    return None if columns is None or not hasattr(flux, "iloc") else list(columns)


def _numbers_of(values):
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    values = np.asanyarray(values)
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)
