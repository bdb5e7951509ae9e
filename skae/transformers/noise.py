"""NoiseInjector: counting and read-out noise on clean rows, for denoising and for tests of robustness.

Simulated spectra and correlations are smooth, measured ones are counted. Put this transformer into a
Pipeline to train a classifier or a regressor on rows as noisy as the measured ones, or hand it to an
autoencoder as ``noise=``, where the input is corrupted afresh for each minibatch and the target stays
clean.
"""

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import OneToOneFeatureMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skae._parameters import NOT_NEGATIVE, POSITIVE, parameter
from skae._sklearn import StrOptions
from skae.transformers._base import TableTransformer
from skae.transformers._messages import refuse_negative

_KINDS = ("poisson", "gaussian")
#: from here on a Poisson draw is a Gaussian one, to 1e-6 of its width
_GAUSSIAN_LIMIT = 1e12


class NoiseInjector(OneToOneFeatureMixin, TableTransformer):
    r"""Add Poisson or Gaussian noise to rows, in ``fit_transform`` only or always.

    With s the scale of a clean row, N its ``counts`` and :math:`w_j` the width of bin j,

    .. math::

        \text{Poisson:}\quad x'_j = \frac{s}{N w_j}\, n_j, \qquad
        n_j \sim \operatorname{Poisson}(N w_j\, x_j / s), \qquad\qquad
        \text{Gaussian:}\quad x'_j = x_j + \sigma s\, \varepsilon_j, \qquad
        \varepsilon_j \sim \operatorname{N}(0, 1).

    Parameters
    ----------
    kind : {"poisson", "gaussian"} or dict, default="poisson"
        The noise. A mapping such as ``{"poisson": 0.95, "gaussian": 0.05}`` gives the probability of
        each kind, drawn for each row.

    counts : float or (float, float), default=100.0
        Poisson: what is counted, on average, in a bin of width 1 where the row equals its scale. A
        pair is a range from which each row draws, uniformly in the logarithm.

    sigma : float, default=0.1
        Gaussian: standard deviation, in units of the scale.

    relative_to : {"clean_max", "std", None}, default="clean_max"
        The scale of a row: the largest absolute value, or the standard deviation, of the row before any
        noise, or 1, which puts ``counts`` and ``sigma`` in the units of X.

    bin_widths : array-like of shape (n_features,), default=None
        Poisson: width of each bin. None stands for bins of width 1.

    apply : {"fit", "always"}, default="fit"
        "fit" leaves ``transform`` alone: in a Pipeline the steps behind are trained on noisy rows and
        used on rows as they are. "always" adds noise in ``transform`` too.

    random_state : int, RandomState instance or None, default=None
        An integer makes every call give the same noise; None takes one draw from NumPy's global state.
        As an estimator's ``noise=`` the draws come from that estimator's ``random_state``.

    Attributes
    ----------
    {shared_attributes}

    See Also
    --------
    skae.JetAutoencoder : Takes a NoiseInjector as ``noise=``.

    Notes
    -----
    Its tag ``non_deterministic`` is set: ``fit_transform(X)`` is not ``fit(X).transform(X)``, and the
    noise of a row depends on how many rows were drawn for before it. That is what it is for.

    A row whose scale is 0 stays as it is. ``fit`` checks the clean rows, and learns nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from skae import NoiseInjector
    >>> clean = np.exp(-np.linspace(0.0, 3.0, 5))[None, :]
    >>> injector = NoiseInjector(counts=100.0, random_state=0)
    >>> counted = injector.fit_transform(clean) * 100  # whole numbers
    >>> np.allclose(counted, counted.round())
    True
    >>> np.array_equal(injector.transform(clean), clean)
    True
    """

    kind: Any = parameter(
        default="poisson", allowed=[StrOptions(set(_KINDS)), Mapping], kw_only=False
    )
    counts: Any = parameter(default=100.0, allowed=[POSITIVE, "array-like"])
    sigma: Any = parameter(default=0.1, allowed=NOT_NEGATIVE)
    relative_to: Any = parameter(
        default="clean_max", allowed=[StrOptions({"clean_max", "std"}), None]
    )
    bin_widths: Any = parameter(default=None, allowed=["array-like", None])
    apply: Any = parameter(default="fit", allowed=StrOptions({"fit", "always"}))
    random_state: Any = parameter(default=None, allowed="random_state")

    def fit_transform(self, X, y=None):
        """Check X, and return it with noise.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Clean rows.
        y : None
            Ignored.

        Returns
        -------
        X_noisy : ndarray of shape (n_samples, n_features)
            Noisy rows, in the dtype of X.
        """
        self.fit(X, y)
        return self._add_noise(self._validate(X, reset=False))

    def transform(self, X):
        """Return X as it is, or with noise where ``apply="always"``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        X_out : ndarray of shape (n_samples, n_features)
            The rows, in the dtype of X.
        """
        check_is_fitted(self, "n_features_in_")
        X = self._validate(X, reset=False)
        return self._add_noise(X) if self.apply == "always" else X.copy()

    def _learn(self, X):
        self._resolve_noise(X)

    def _resolve_noise(self, X):
        """Check what no single parameter's constraint can; return what the noise of these rows is.

        The estimators call it too, with X of shape ``(n_samples, ..., n_features)``, for the arguments
        of the twin that draws on a minibatch's device.
        """
        kind = dict.fromkeys([self.kind], 1.0) if isinstance(self.kind, str) else dict(self.kind)
        known = set(kind) <= set(_KINDS) and all(isinstance(p, Real) for p in kind.values())
        if not known or min(kind.values(), default=-1) < 0 or abs(sum(kind.values()) - 1) > 1e-9:
            raise ValueError(
                f"kind={self.kind!r} must give 'poisson', 'gaussian' or both a probability of 0 or "
                "more each; they must sum to 1."
            )
        counts = np.atleast_1d(np.asarray(self.counts, dtype=np.float64))
        if counts.shape not in ((1,), (2,)) or not 0 < counts[0] <= counts[-1] < np.inf:
            raise ValueError(
                f"counts={self.counts!r} must be a positive number, or a range (lowest, highest)."
            )
        widths = None if self.bin_widths is None else np.asarray(self.bin_widths, dtype=np.float64)
        if widths is not None and (
            widths.shape != X.shape[-1:] or not (np.isfinite(widths) & (widths > 0)).all()
        ):
            raise ValueError(
                f"bin_widths has shape {widths.shape}; it must hold {X.shape[-1]} positive numbers, "
                "one for each column of X."
            )
        if kind.get("poisson", 0.0) > 0.0 and X.min() < 0.0:
            refuse_negative(
                self,
                X,
                "Poisson noise needs values of 0 or more. Use kind='gaussian', or put the noise before "
                "what makes them negative.",
            )
        return {
            "p_gaussian": float(kind.get("gaussian", 0.0)),
            "counts": (float(counts[0]), float(counts[-1])),
            "sigma": float(self.sigma),
            "relative_to": self.relative_to,
            "bin_widths": widths,
        }

    def _add_noise(self, X):
        resolved = self._resolve_noise(X)
        rng = _make_generator(self.random_state)
        gaussian = rng.random(len(X)) < resolved["p_gaussian"]
        noisy = np.empty_like(X, subok=False)
        x = X[gaussian].astype(np.float64)
        noisy[gaussian] = x + resolved["sigma"] * self._scale(x) * rng.standard_normal(x.shape)
        x = X[~gaussian].astype(np.float64)
        exposure = np.exp(rng.uniform(*np.log(resolved["counts"]), size=(len(x), 1)))
        if resolved["bin_widths"] is not None:
            exposure = exposure * resolved["bin_widths"]
        scale = self._scale(x)
        unit = np.where(scale > 0.0, scale, 1.0) / exposure
        noisy[~gaussian] = np.where(scale > 0.0, unit * _draw_poisson(rng, x / unit), x)
        return noisy

    def _scale(self, x):
        if self.relative_to == "clean_max":
            return np.abs(x).max(axis=1, keepdims=True)
        if self.relative_to == "std":
            return x.std(axis=1, keepdims=True)
        return np.ones((len(x), 1))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.non_deterministic = True
        mapping = self.kind if isinstance(self.kind, Mapping) else {self.kind: 1.0}
        tags.input_tags.positive_only = mapping.get("poisson", 0.0) != 0.0
        return tags


def _make_generator(random_state):
    """Return a generator of its own, with the seed that is given or drawn."""
    if not isinstance(random_state, Integral):
        random_state = check_random_state(random_state).randint(np.iinfo(np.int32).max)
    return np.random.default_rng(random_state)


def _draw_poisson(rng, mean):
    few = mean < _GAUSSIAN_LIMIT
    draws = rng.poisson(np.where(few, mean, 0.0)).astype(np.float64)
    if not few.all():
        many = mean[~few]
        draws[~few] = many + np.sqrt(many) * rng.standard_normal(len(many))
    return draws
