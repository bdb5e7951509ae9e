"""LogRatioTransformer: the parts of a whole, on a scale that a network can learn.

The voxels of a shower share its energy over seven orders of magnitude, most of them empty; abundances
and fractions add up to one. Reach for this transformer before an autoencoder of either.
"""

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skae._parameters import NOT_NEGATIVE, parameter
from skae._sklearn import Interval, StrOptions, _check_feature_names_in
from skae._workers import map_in_threads
from skae.transformers._base import TableTransformer
from skae.transformers._blocks import BLOCK_SIZE, row_blocks
from skae.transformers._log_ratios import (
    SINGLE,
    composition_backward,
    composition_forward,
    drop_below,
    largest_fraction,
    put_reference,
    single_backward,
    single_forward,
    take_reference,
)
from skae.transformers._messages import name_column, refuse_negative


class LogRatioTransformer(TableTransformer):
    r"""Turn parts of a whole into log-ratios, with the whole beside them, and exactly back.

    With :math:`x_i` the parts, E their total, and R = ``epsilon``, the kinds, and how many columns come
    out of d columns of X, are

    - "logit": :math:`\operatorname{logit}(R + (1 - 2R)\,x_i/E) - \operatorname{logit}(R)` [1]_;
      1 + parts.
    - "log1p": :math:`\log(1 + x_i)`, in the units of X; 1 + parts.
    - "alr": :math:`\log(x_i / x_b)` for all :math:`i \ne b` [2]_; d.
    - "clr": :math:`\log x_i` less its mean over i [2]_; 1 + d.
    - "ilr": :math:`\sqrt{j/(j+1)}\,(\overline{\log x}_{1 \dots j} - \log x_{j+1})` for
      j = 1 … d − 1 [3]_; d.

    There are d parts, or d − 1 beside a ``reference``. Column 0 of the output is always the total, as it
    is, so that a Pipeline can come back without side data.

    Parameters
    ----------
    kind : {"logit", "log1p", "alr", "clr", "ilr"}, default="logit"
        "logit" and "log1p" look at each part by itself, and an empty part is exactly 0: take them for
        showers, where most voxels are. "log1p" resolves energies of the order of the unit (MeV) whatever
        the total. The others are for compositions with few or no zeros: "alr" is the easiest to read,
        "clr" treats all parts alike, "ilr" keeps distances and has no redundant column.

    reference : None, int or str, default=None
        The column that holds the total, by number or name; for CaloChallenge's data 0, the incident
        energy. It becomes column 0 of the output. "alr", "clr" and "ilr" count it as one of the
        parts, and "alr" divides by it. None takes each row's sum for the total; "alr" then divides by
        the last part.

    threshold : float, default=0.0
        Parts below, in the units of X, are zero, on the way there and on the way back: what a detector
        does not read out, and a network gives all the same. A total that is the row's sum does not count
        them. For "logit" and "log1p".

    epsilon : float, default=1e-7
        R of the logit. For "alr", "clr" and "ilr" the share of the total that replaces a zero; not used
        by "log1p".

    Attributes
    ----------
    reference_ : int or None
        Number of the column that holds the total.

    {shared_attributes}

    See Also
    --------
    BoxCoxTransformer : For skewed columns that are not parts of a whole.

    Notes
    -----
    A row of zeros gives zeros. A *sum* of parts above E is fine (calibrated energies do that), a part of
    :math:`(1 + R/(1 - 2R))\,E` or more is not, for the logit ends there, and neither are negative values
    and parts that are lit where the total is zero. ``fit`` looks for these, and learns nothing.

    On the way back coordinates of "logit" and "log1p" below zero, which a network may give, mean an empty
    part. "alr", "clr" and "ilr" come back exactly where a row had no zeros; a zero comes back as
    ``epsilon`` times the total. Without a ``reference`` the total is the sum, in which the positive parts
    make room: they shrink by the factor 1 − n_zeros · ``epsilon``, and their ratios stay (multiplicative
    replacement [4]_). Rows where nothing would be left of them are an error. With a ``reference`` the
    positive parts come back as they were.

    Computed block by block in float64, without a copy of X, whatever the dtype of X, which the
    result has.

    References
    ----------
    .. [1] C. Krause and D. Shih,
       "CaloFlow", Phys. Rev. D 107, 113003 (2023), arXiv:2106.05285.
    .. [2] J. Aitchison, "The statistical analysis of compositional data", J. R. Stat. Soc. B 44,
       139 (1982).
    .. [3] J. J. Egozcue et al., "Isometric logratio transformations for compositional data analysis",
       Math. Geol. 35, 279 (2003).
    .. [4] J. A. Martín-Fernández et al., "Dealing with zeros and missing values in compositional data
       sets using nonparametric imputation", Math. Geol. 35, 253 (2003).

    Examples
    --------
    >>> import numpy as np
    >>> from skae import LogRatioTransformer
    >>> X = np.array([[1000.0, 0.0, 300.0, 520.0], [2000.0, 1900.0, 0.0, 0.0]])  # E, voxels (MeV)
    >>> log_ratio = LogRatioTransformer(reference=0).fit(X)
    >>> log_ratio.transform(X).round(2)
    array([[1000.  ,    0.  ,   15.27,   16.2 ],
           [2000.  ,   19.06,    0.  ,    0.  ]])
    >>> np.allclose(log_ratio.inverse_transform(log_ratio.transform(X)), X)
    True
    """

    kind: Any = parameter(
        default="logit", allowed=StrOptions({*SINGLE, "alr", "clr", "ilr"}), kw_only=False
    )
    reference: Any = parameter(default=None, allowed=[Integral, str, None])
    threshold: Any = parameter(default=0.0, allowed=NOT_NEGATIVE)
    epsilon: Any = parameter(default=1e-7, allowed=Interval(Real, 0, 0.5, closed="neither"))

    def transform(self, X):
        """Turn parts into log-ratios.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Parts, and their total where there is a ``reference``.

        Returns
        -------
        X_transformed : ndarray of shape (n_samples, n_features_out)
            The total and the coordinates, in the dtype of X.
        """
        check_is_fitted(self, "reference_")
        X = self._validate(X, reset=False)
        out = np.empty((len(X), self._n_features_out), dtype=X.dtype)

        def map_block(rows: slice) -> None:
            parts, total = self._check(X, X[rows])
            out[rows, 0] = total[:, 0]
            if self.kind in SINGLE:
                if self.threshold > 0.0:
                    parts = drop_below(parts, self.threshold)
                single_forward(self.kind, parts, total, self.epsilon, out=out[rows, 1:])
            else:
                out[rows, 1:] = composition_forward(
                    self.kind,
                    parts.astype(np.float64),
                    total,
                    self.epsilon,
                    self._base,
                    is_sum=self.reference_ is None,
                )

        self._blockwise(map_block, X)
        return out

    def inverse_transform(self, X):
        """Turn log-ratios back into parts.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_out)
            The total and the coordinates.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features)
            Parts, and their total where there is a ``reference``, in the dtype of X.
        """
        check_is_fitted(self, "reference_")
        X = self._validate_transformed(X, self._n_features_out)
        out = np.empty((len(X), self.n_features_in_), dtype=X.dtype)
        largest = np.finfo(X.dtype).max

        def map_block(rows: slice) -> None:
            total = X[rows, :1].astype(np.float64)
            z = X[rows, 1:].astype(np.float64)
            if self.kind in SINGLE:
                x = single_backward(self.kind, z, total, self.epsilon, self.threshold)
                if self.reference_ is not None:
                    x = put_reference(x, total, self.reference_)
            else:
                x = composition_backward(
                    self.kind, z, total, self._base, is_sum=self.reference_ is None
                )
            out[rows] = np.clip(x, -largest, largest, out=x)

        self._blockwise(map_block, X)
        return out

    def get_feature_names_out(self, input_features=None):
        """Return the names of the output's columns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of X; None takes those seen in fit, or x0, x1, ….

        Returns
        -------
        names : ndarray of str
            The total's name, "total" where it is a sum, then "<kind>_<name of the part>"; for "ilr"
            "ilr_1", "ilr_2", ….
        """
        check_is_fitted(self, "reference_")
        names = list(_check_feature_names_in(self, input_features))
        total = "total" if self.reference_ is None else names[self.reference_]
        if self.kind == "ilr":
            names = list(range(1, len(names)))
        elif self.kind == "alr":
            del names[self._base]
        elif self.kind != "clr" and self.reference_ is not None:
            del names[self.reference_]
        return np.array([total, *(f"{self.kind}_{name}" for name in names)], dtype=object)

    @property
    def _n_features_out(self):
        one_more = self.kind == "clr" or (self.kind in SINGLE and self.reference_ is None)
        return self.n_features_in_ + one_more

    @property
    def _base(self):
        """The part that alr divides by, or that the others scale back with."""
        return self.n_features_in_ - 1 if self.reference_ is None else self.reference_

    def _learn(self, X):
        if self.threshold > 0.0 and self.kind not in SINGLE:
            raise ValueError(
                f"threshold={self.threshold} makes zeros, which kind={self.kind!r} cannot have; use "
                "kind='logit' or 'log1p', or threshold=0."
            )
        self.reference_ = self._find_reference()
        self._blockwise(lambda rows: self._check(X, X[rows]), X)

    def _find_reference(self):
        if self.reference is None:
            return None
        if isinstance(self.reference, str):
            names = list(getattr(self, "feature_names_in_", []))
            if self.reference not in names:
                raise ValueError(
                    f"reference names column {self.reference!r}, but X has "
                    + (f"columns {names}." if names else "no column names; use its number.")
                )
            return names.index(self.reference)
        if not 0 <= self.reference < self.n_features_in_:
            raise ValueError(
                f"reference={self.reference}, but X has {self.n_features_in_} columns: use 0 to "
                f"{self.n_features_in_ - 1}, or None to take the row's sum for the total."
            )
        if self.n_features_in_ == 1:
            raise ValueError(
                "X has 1 feature(s), its total; parts must stand beside it. Use reference=None if "
                "the column is a part."
            )
        return int(self.reference)

    def _blockwise(self, function, X):
        return map_in_threads(
            function, row_blocks(len(X), max(X.shape[1], self.n_features_in_), BLOCK_SIZE)
        )

    def _check(self, X, block):
        """Split a block into parts and total, after checking that they are physical."""
        k, is_negative = self.reference_, block.min() < 0.0
        if k is None and self.threshold > 0.0:  # a sum of what is left
            block = drop_below(block, self.threshold)
        if k is None:
            parts, total = block, block.sum(axis=1, keepdims=True, dtype=np.float64)
            total = total.astype(block.dtype)  # as it will be read, so that the inverse is exact
        elif self.kind in SINGLE:
            parts, total = take_reference(block, k)
        else:
            parts, total = block, block[:, k : k + 1]
        total = total.astype(np.float64)
        limit = largest_fraction(self.epsilon) if self.kind == "logit" else np.inf
        highest = parts.max(axis=1, keepdims=True)
        if is_negative or not ((highest < limit * total) | (highest == 0.0)).all():
            self._refuse(X, limit)
        if k is None and self.kind not in SINGLE:
            self._check_room(parts, total)
        return parts, total

    def _check_room(self, parts, total):
        """Refuse rows whose zeros, replaced, would leave nothing to the other parts."""
        most = int(((parts == 0.0) & (total > 0.0)).sum(axis=1).max())
        if most * self.epsilon >= 1.0:
            raise ValueError(
                f"epsilon={self.epsilon:g} for each of the {most} zeros of a row of X leaves nothing of "
                f"the total to its positive parts; use an epsilon below {1.0 / most:.3g}, or "
                "kind='logit' or 'log1p', which keep zeros."
            )

    def _refuse(self, X, limit):
        """Say what is wrong with X, by column and count."""
        refuse_negative(
            self,
            X,
            "log-ratios need values of 0 or more. Clip what is noise to 0, or use a BoxCoxTransformer.",
        )
        total = X[:, self.reference_]
        lit = np.delete(X, self.reference_, axis=1)
        of_total = name_column(self, self.reference_)
        dark = (total == 0.0) & (lit > 0.0).any(axis=1)
        if dark.any():
            raise ValueError(
                f"X has {dark.sum()} rows with positive parts but a total of 0 in {of_total}; drop "
                f"them, or check that reference={self.reference!r} is the column of the total."
            )
        large = (limit * total[:, None].astype(np.float64) <= X) & (X > 0.0)
        large[:, self.reference_] = False
        column = int(large.sum(axis=0).argmax())
        raise ValueError(
            f"X has {large[:, column].sum()} values in {name_column(self, column)}, one of "
            f"{large.any(axis=0).sum()} such columns, that reach {limit:.8g} times the total in "
            f"{of_total}, where the logit ends. Check that both are in one unit, or use kind='log1p'."
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags
