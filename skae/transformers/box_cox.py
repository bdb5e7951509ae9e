"""BoxCoxTransformer: a power for each column that makes its distribution as Gaussian as it can be.

Energies, momenta, counts and impact parameters have long tails, and a mean squared error looks at
nothing but the tail. Reach for this transformer before an autoencoder, as for PowerTransformer.
"""

from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import OneToOneFeatureMixin
from sklearn.utils.validation import check_is_fitted

from skae._parameters import NOT_NEGATIVE, parameter
from skae._sklearn import StrOptions
from skae._warn import warn
from skae._workers import map_in_threads
from skae.exceptions import ClippingWarning
from skae.transformers._base import TableTransformer
from skae.transformers._blocks import BLOCK_SIZE, row_blocks
from skae.transformers._box_cox_map import BoxCoxMap, fit_box_cox_map
from skae.transformers._messages import name_column

#: numbers that one thread fits at a time, and keeps the logarithms of
_FIT_SIZE = 2**20
#: columns fewer than this are transformed several rows at a time
_ROW_SIZE = 256


class BoxCoxTransformer(OneToOneFeatureMixin, TableTransformer):
    r"""Make skewed columns as Gaussian as a power can, and bring them back exactly.

    Each column gets the two-parameter transformation of Box and Cox [1]_,

    .. math::

        y = \frac{(x + s)^\lambda - 1}{\lambda} \quad (\lambda \ne 0), \qquad
        y = \log(x + s) \quad (\lambda = 0),

    with the λ that maximises the likelihood of a Gaussian, and is then standardised.

    It differs from scikit-learn's ``PowerTransformer(method="box-cox")`` in what it does at the
    edges. Columns may reach zero and below. λ is bounded where a stronger power would lose digits, so
    that what was seen in fit comes back. Values that were not seen, or that a network made up, never
    give NaN, nor a million times what was seen. And all columns are solved at once, many times faster.

    Parameters
    ----------
    lmbda : None, float or array-like of shape (n_features,), default=None
        The power. None takes the maximum-likelihood one of each column; a number is used as it is,
        without the bound: 0 is the logarithm, 1 leaves a column as it is.

    shift : "auto", None, float or array-like of shape (n_features,), default="auto"
        What is added to a column first. "auto" leaves positive columns where they are, and moves one
        that reaches zero or below so that its minimum lies above zero by a hundredth of its mean
        distance from the minimum. None requires positive data.

    skew_threshold : float, default=None
        Leave columns alone whose \|skewness\| is below this: 0.5 is a common choice. None transforms
        every column that is not constant.

    standardize : bool, default=True
        Give the transformed columns zero mean and unit variance.

    copy : bool, default=True
        False lets ``transform`` and ``inverse_transform`` write into X itself, if it is a writeable
        array of floats.

    Attributes
    ----------
    lambdas_ : ndarray of shape (n_features,)
        Power of each column; 1 for those left alone.

    shifts_ : ndarray of shape (n_features,)
        What is added to each column; for those left alone 1, with which a power of 1 is the identity.

    skewness_ : ndarray of shape (n_features,)
        Skewness of each column before the transformation; 0 for a constant one.

    {shared_attributes}

    See Also
    --------
    sklearn.preprocessing.PowerTransformer : Also Yeo–Johnson, for columns around zero.
    LogRatioTransformer : For parts of a whole, such as the voxels of a shower.

    Notes
    -----
    **The bound.** A power flattens one end of a column, where rounding then drowns differences; a
    nearly constant column with an outlier asks for λ = −49 and would lose everything but the outlier.
    \|λ\| therefore stays below the solution of :math:`(e^{\lambda R} - 1)/\lambda = 10^{-6} / 8\epsilon`,
    R being the range of the column's logarithm (without standardisation, the part of it on the flat
    side of 1): what was seen in fit comes back within 1e-6 of :math:`|x| + |s|` in float64, and within
    1e-3 in float32.

    **Beyond the data.** An inverse power has a pole or grows exponentially just beyond what it was fitted
    to. There both directions are straight lines, with the slope :math:`dx/dy` at the end of the data, but
    at most their range for each standard deviation of the transformed column. So y one standard
    deviation beyond what ``transform`` gave in fit comes back at most one range of the data beyond their
    end, whatever λ is; and new, larger values come back as they were. A column without negative values in
    fit never comes back negative: what would be below 0 (or below −shift, for a negative one) is clipped.
    Values that are, or that lie more than one standard deviation beyond the data, are counted by a
    `ClippingWarning`.

    ``fit`` refuses a column with values that are not positive after a given shift, and one that a given
    power takes out of the range of floating-point numbers.

    **Missing values** (NaN) are ignored in fit and kept by the transformations, as scikit-learn's
    scalers do. Constant and all-missing columns are left alone.

    Computed in float64 whatever the dtype of X, which the result has.

    References
    ----------
    .. [1] G. E. P. Box and D. R. Cox, "An analysis of transformations", J. R. Stat. Soc. B 26, 211
       (1964).

    Examples
    --------
    >>> import numpy as np
    >>> from skae import BoxCoxTransformer
    >>> X = np.random.default_rng(0).lognormal(size=(1000, 1))
    >>> box_cox = BoxCoxTransformer().fit(X)
    >>> bool(abs(box_cox.lambdas_[0]) < 0.1)  # the logarithm, but for the noise
    True
    >>> np.allclose(box_cox.inverse_transform(box_cox.transform(X)), X)
    True
    """

    lmbda: Any = parameter(default=None, allowed=[Real, "array-like", None])
    shift: Any = parameter(default="auto", allowed=[StrOptions({"auto"}), Real, "array-like", None])
    skew_threshold: Any = parameter(default=None, allowed=[NOT_NEGATIVE, None])
    standardize: Any = parameter(default=True, allowed="boolean")
    copy: Any = parameter(default=True, allowed="boolean")

    def transform(self, X):
        """Transform the columns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Data; NaN stays NaN.

        Returns
        -------
        X_transformed : ndarray of shape (n_samples, n_features)
            The transformed data, in the dtype of X.

        Warns
        -----
        ClippingWarning
            If values lie far beyond the data of the fit.
        """
        check_is_fitted(self, "lambdas_")
        X = self._validate(X, reset=False)
        return self._map(X, "X")

    def inverse_transform(self, X):
        """Bring transformed columns back.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Transformed data; NaN stays NaN.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features)
            The data before the transformation, in the dtype of X.

        Warns
        -----
        ClippingWarning
            If values lie far beyond what ``transform`` gave in fit, or would come back negative where no
            data were.
        """
        check_is_fitted(self, "lambdas_")
        X = self._validate_transformed(X, self.n_features_in_)
        return self._map(X, "what is to be brought back", back=True)

    def _learn(self, X):
        n_columns = X.shape[1]
        power = self._one_per_column("lmbda", n_columns)
        shift = self._one_per_column("shift", n_columns)
        if shift is not None:
            self._check_positive(X, shift, power)

        def fit_part(part: slice) -> tuple[BoxCoxMap, np.ndarray]:
            columns = np.ascontiguousarray(X[:, part].T, dtype=np.float64)
            return fit_box_cox_map(
                columns,
                None if power is None else power[part],
                None if shift is None else shift[part],
                self.skew_threshold,
                self.standardize,
                X.dtype,
            )

        parts = map_in_threads(fit_part, row_blocks(n_columns, len(X), _FIT_SIZE))
        fitted = BoxCoxMap.join([fitted for fitted, _ in parts])
        self._check_finite(fitted, np.finfo(X.dtype).max)
        self._fitted_map = fitted
        self.lambdas_ = fitted.power.copy()
        self.shifts_ = fitted.shift.copy()
        self.skewness_ = np.concatenate([skewness for _, skewness in parts])

    def _one_per_column(self, name, n_columns):
        """Return a given parameter as one number a column, None where it is to be found."""
        value = getattr(self, name)
        if value is None and name == "shift":
            value = 0.0
        if value is None or (isinstance(value, str) and value == "auto"):
            return None
        numbers = np.asarray(value, dtype=np.float64)
        if numbers.shape not in ((), (n_columns,)) or not np.isfinite(numbers).all():
            raise ValueError(
                f"{name}={value!r} must be a finite number, or one for each of the {n_columns} columns."
            )
        return np.broadcast_to(numbers, (n_columns,)).copy()

    def _check_positive(self, X, shift, power):
        """Refuse columns that a given shift leaves with values that have no logarithm."""
        with np.errstate(invalid="ignore"):
            lowest = np.nanmin(X, axis=0, initial=np.inf) + shift
        bad = lowest <= 0.0
        if power is not None:
            bad &= power != 1.0  # a straight line takes any value
        if bad.any():
            column = int(np.flatnonzero(bad)[0])
            count = int((X[:, column] + shift[column] <= 0.0).sum())
            kind = "Negative values in data: " if np.nanmin(X[:, column]) < 0.0 else ""
            raise ValueError(
                f"{kind}X has {count} values <= {-shift[column]:g} in {name_column(self, column)} "
                f"(min {np.nanmin(X[:, column]):.6g}), one of {bad.sum()} such columns, and "
                f"shift={self.shift!r}; a power needs x + shift > 0. Use shift='auto', or a larger "
                "shift."
            )

    def _check_finite(self, fitted, largest):
        """Refuse a given power that a column does not survive."""
        lost = ~(np.isfinite(fitted.mean) & np.isfinite(fitted.scale))
        image = np.maximum(np.abs(fitted.image_low), np.abs(fitted.image_high))
        lost |= ~fitted.linear & ~(image <= largest)
        if lost.any():
            column = int(np.flatnonzero(lost)[0])
            raise ValueError(
                f"lmbda={fitted.power[column]:g} takes {name_column(self, column)} out of the range of "
                "floating-point numbers; use a power nearer to 0, or lmbda=None to find it."
            )

    def _map(self, X, what, *, back=False):
        """Send the rows of X through the map, block by block; warn of what lies far from the data."""
        out = X if not self.copy and X.flags.writeable else np.empty(X.shape, dtype=X.dtype)
        n_rows, n_columns = X.shape
        times = max(1, _ROW_SIZE // n_columns)
        rows = times * max(1, BLOCK_SIZE // (times * n_columns))
        maps = {1: self._fitted_map, times: self._fitted_map.repeat(times)}
        largest = np.finfo(X.dtype).max

        def map_block(block: slice) -> np.ndarray:
            x = np.ascontiguousarray(X[block])
            wide = times if len(x) % times == 0 else 1
            x, fitted = x.reshape(-1, wide * n_columns), maps[wide]
            result = fitted.backward(x) if back else fitted.forward(x)
            far = fitted.count_far(x if back else result)
            np.clip(result, -largest, largest, out=result)
            out[block] = result.reshape(-1, n_columns)
            return far.reshape(-1, n_columns).sum(axis=0)

        counts = map_in_threads(map_block, row_blocks(n_rows, 1, rows))
        self._warn_of_far(np.sum(counts, axis=0), what)
        return out

    def _warn_of_far(self, counts, what):
        """Name the column that most of the ``counts`` are in, and the ends of its data."""
        if counts.any():
            worst, fitted = int(np.argmax(counts)), self._fitted_map
            floor = fitted.floor[worst]
            end = f", which end at {floor:g} on the way back" if np.isfinite(floor) else ""
            warn(
                f"{np.sum(counts)} values of {what} lie far beyond the data of the fit, most of them "
                f"({counts[worst]}) in {name_column(self, worst)}, whose data reach from "
                f"{fitted.minimum[worst]:.6g} to {fitted.maximum[worst]:.6g}. Beyond, Box-Cox goes on in "
                f"straight lines{end}.",
                ClippingWarning,
            )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.positive_only = self.shift is None
        return tags
