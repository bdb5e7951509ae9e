"""KinematicsTransformer: four-momenta to features that a network likes, and exactly back.

Energies and momenta of jets fall steeply over orders of magnitude, and nearly massless ones lie so
close to the surface E = pT·cosh η that a network spends all its precision on staying there. Their
logarithm, and a mass term in place of the energy, take both away.
"""

from typing import Any

import numpy as np
from sklearn.base import OneToOneFeatureMixin
from sklearn.utils.validation import check_is_fitted

from skae._parameters import parameter
from skae.physics.kinematics import features_of_momenta, momenta_of_features
from skae.transformers._base import TableTransformer

#: the sets of columns that fix a four-momentum, in any order
_COORDINATES = (
    frozenset({"E", "pt", "eta", "phi"}),
    frozenset({"m", "pt", "eta", "phi"}),
    frozenset({"px", "py", "pz", "E"}),
)

_FEATURES = ("log_pt", "eta", "phi", "mass_over_pt")


class KinematicsTransformer(TableTransformer):
    r"""Turn four-momenta into (log pT, η, φ, m/pT), and back to rounding.

    .. math::

        \log p_T,\quad \eta,\quad \phi,\quad
        \mu = \operatorname{sign}(m^2)\,\sqrt{|m^2|}\,/\,p_T,
        \qquad m^2 = (E - p)(E + p),\quad p = p_T \cosh\eta .

    Rounding in a detector's files leaves some jets with :math:`m^2 < 0`: the sign is kept, and
    :math:`E = \sqrt{p^2 + \mu|\mu|\,p_T^2}` gives their energy back too. An error of log pT is the
    relative error of pT, whatever the pT, and one of m/pT, times :math:`m\,p_T/E^2`, that of E.

    Parameters
    ----------
    columns : sequence of str, default=("E", "pt", "eta", "phi")
        What the first four columns of X are, in order: any order of E, pt, eta, phi, of m, pt, eta,
        phi, or of px, py, pz, E. Energies, momenta and masses are in one unit (c = 1); the
        angle φ is in radians, and comes back wrapped if it lies outside [−π, π]. A negative m stands
        for m² < 0. Further columns of X are passed on as they are.

    Attributes
    ----------
    {shared_attributes}

    See Also
    --------
    skae.JetAutoencoder : What these features are for.

    Notes
    -----
    Computed in float64 whatever the dtype of X, which the result has. In float64 the round trip is
    exact to 1e-12 of E and pT (of pT, for px and py), in float32 to a few 1e-7. An energy in float32
    fixes m² only to about :math:`10^{-7} E^2`, but that much is kept.

    ``fit`` checks X, and learns nothing.

    References
    ----------
    .. [1] Particle Data Group, "Review of Particle Physics", section Kinematics,
       doi:10.1103/PhysRevD.110.030001 (2024).

    Examples
    --------
    >>> import numpy as np
    >>> from skae.transformers import KinematicsTransformer
    >>> X = np.array([[120.0, 100.0, 0.5, 3.0], [45.0, 44.0, -0.2, -1.0]])  # E, pT (GeV), η, φ
    >>> kinematics = KinematicsTransformer().fit(X)
    >>> kinematics.transform(X).round(3)
    array([[ 4.605,  0.5  ,  3.   ,  0.41 ],
           [ 3.784, -0.2  , -1.   ,  0.074]])
    >>> np.allclose(kinematics.inverse_transform(kinematics.transform(X)), X)
    True
    """

    columns: Any = parameter(default=("E", "pt", "eta", "phi"), allowed="array-like", kw_only=False)

    def transform(self, X):
        """Turn four-momenta into features.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Four-momenta, and any further columns.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features)
            log pT, η, φ, m/pT, and the further columns.

        Raises
        ------
        ValueError
            If a pT or an energy is not positive.
        """
        check_is_fitted(self, "n_features_in_")
        X = self._validate(X, reset=False)
        return _join(features_of_momenta(self._check_momenta(X)), X)

    def inverse_transform(self, X):
        """Turn features back into four-momenta.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            log pT, η, φ, m/pT, and any further columns. A φ outside [−π, π] is wrapped, and a mass
            term too negative for its momentum gives E = 0.

        Returns
        -------
        momenta : ndarray of shape (n_samples, n_features)
            The columns that ``transform`` was given.
        """
        check_is_fitted(self, "n_features_in_")
        X = self._validate_transformed(X, self.n_features_in_)
        features = X[:, :4].T.astype(np.float64)
        largest_angle = float(X.dtype.type(np.pi))
        return _join(momenta_of_features(features, self.columns, largest_angle), X)

    def get_feature_names_out(self, input_features=None):
        """Return the names of the features.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of X; only those of further columns are used.

        Returns
        -------
        names : ndarray of str
            "log_pt", "eta", "phi", "mass_over_pt", and the names of the further columns.
        """
        check_is_fitted(self, "n_features_in_")
        names = OneToOneFeatureMixin.get_feature_names_out(self, input_features)
        return np.array([*_FEATURES, *names[4:]], dtype=object)

    def _learn(self, X):
        if frozenset(self.columns) not in _COORDINATES or len(self.columns) != 4:
            raise ValueError(
                f"columns={tuple(self.columns)} does not fix a four-momentum; use ('E', 'pt', 'eta', "
                "'phi'), ('m', 'pt', 'eta', 'phi') or ('px', 'py', 'pz', 'E'), in any order."
            )
        if X.shape[1] < 4:
            raise ValueError(
                f"X has {X.shape[1]} columns; the first four must be {tuple(self.columns)}."
            )
        self._check_momenta(X)

    def _check_momenta(self, X):
        """Name the first four columns, in float64, after checking that they are physical."""
        momentum = dict(zip(self.columns, X[:, :4].T.astype(np.float64), strict=True))
        for name in ("pt", "E"):
            if name in momentum and (bad := momentum[name] <= 0.0).any():
                raise ValueError(
                    f"X has {bad.sum()} rows with {name} <= 0 in column {list(self.columns).index(name)} "
                    f"(min {momentum[name].min():.6g}); {name} must be positive. Drop these rows, or "
                    f"check that columns={tuple(self.columns)} is the order of X."
                )
        if "px" in momentum and (bad := (momentum["px"] == 0.0) & (momentum["py"] == 0.0)).any():
            raise ValueError(
                f"X has {bad.sum()} rows with px = py = 0, which have no η and φ; drop these rows."
            )
        return momentum


def _join(first_four, X):
    """Four new columns, and those of X that follow its first four, in X's dtype."""
    joined = np.empty_like(X, subok=False)
    joined[:, :4] = np.column_stack(first_four)
    joined[:, 4:] = X[:, 4:]
    return joined
