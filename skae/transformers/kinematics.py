"""KinematicsTransformer: four-momenta to features that a network likes, and exactly back.

Energies and momenta of jets fall steeply over orders of magnitude, and nearly massless ones lie so
close to the surface E = pT·cosh η that a network spends all its precision on staying there. Their
logarithm, and a mass term in place of the energy, take both away.
"""

from typing import Any

import numpy as np
from sklearn.base import OneToOneFeatureMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from skae._parameters import parameter
from skae._warn import warn
from skae.exceptions import UnitsWarning
from skae.physics.column_names import find_components, find_momentum
from skae.physics.kinematics import (
    COORDINATES,
    are_below_mass_shell,
    features_of_momenta,
    implausible_angles,
    momenta_of_features,
)
from skae.transformers._base import TableTransformer
from skae.transformers._messages import name_column

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
    columns : sequence of str, default=None
        What the first four columns of X are, in order: any order of E, pt, eta, phi; of m, pt, eta,
        phi; or of px, py, pz and E or m. None: of a DataFrame, what its names say; else E, pt, eta, phi.
        In a DataFrame columns are found by name, wherever they stand; see the notes. Energies, momenta
        and masses are in one unit (c = 1); the angle φ is in radians, and comes back wrapped if it lies
        outside [−π, π]. A negative m stands for m² < 0. Further columns of X are passed on as they are.
    scale : bool, default=False
        Whether to divide all features but φ, those of further columns included, by their standard
        deviations in training. A :class:`~skae.JetAutoencoder` weighs columns by their spreads, and
        m/pT has a thirtieth of that of φ; φ stays an angle in radians.

    Attributes
    ----------
    columns_ : tuple of str
        Components of the four-momentum: ``columns``, or what was found.
    column_order_ : ndarray of shape (n_features,)
        Where these stand in X; then the further columns.
    scale_ : ndarray of shape (n_features,) or None
        What features are divided by; 1 for φ and where a feature is constant.
    {shared_attributes}

    See Also
    --------
    skae.JetAutoencoder : What these features are for.

    Notes
    -----
    Computed in float64 whatever the dtype of X, which the result has. In float64 the round trip is
    exact to 1e-12 of E and pT (of pT, for px and py), in float32 to a few 1e-7. An energy in float32
    fixes m² only to about :math:`10^{-7} E^2`, but that much is kept.

    Names of a DataFrame are matched regardless of case, with common aliases ("p_T", "energy", "mass"), a
    unit, and the name of an object if it is that of all four ("jet_pt", "Jet.PT", "pt_1"). Of several
    objects the one that is called "jet" is taken, of several sets of columns the first of those above. If
    not one name is known, columns are taken in order, as those of an array; names that are known in part,
    or more than once, are an error. ``inverse_transform`` returns the columns in the order of X.

    An energy below the momentum by more than 1e-4 of it is an error: no rounding gives one, columns in
    another order do. Angles that look like degrees give a :class:`~skae.exceptions.UnitsWarning`.

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

    columns: Any = parameter(default=None, allowed=["array-like", None], kw_only=False)
    scale: Any = parameter(default=False, allowed="boolean")

    @np.errstate(under="ignore")
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
            If a pT or an energy is not positive, or an energy is below its momentum.
        """
        check_is_fitted(self, "n_features_in_")
        X = self._validate(X, reset=False)
        features = self._features_of(X)
        if self.scale_ is not None:
            features /= self.scale_
        return features.astype(X.dtype, copy=False)

    @np.errstate(under="ignore")
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
            The columns that ``transform`` was given, in their order.
        """
        check_is_fitted(self, "n_features_in_")
        X = self._validate_transformed(X, self.n_features_in_)
        features = X.astype(np.float64)
        if self.scale_ is not None:
            features *= self.scale_
        largest_angle = float(X.dtype.type(np.pi))
        momenta = momenta_of_features(features[:, :4].T, self.columns_, largest_angle)
        back = np.empty_like(X, subok=False)
        back[:, self.column_order_] = np.column_stack([*momenta, features[:, 4:]])
        return back

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
        return np.array([*_FEATURES, *names[self.column_order_][4:]], dtype=object)

    def _learn(self, X):
        columns = COORDINATES[0] if self.columns is None else tuple(map(str, self.columns))
        if sorted(columns) not in [sorted(components) for components in COORDINATES]:
            raise ValueError(
                f"columns={columns} does not fix a four-momentum; use one of "
                f"{', '.join(map(str, COORDINATES))}, in any order."
            )
        if X.shape[1] < 4:
            raise ValueError(f"X has {X.shape[1]} columns; the first four must be {columns}.")
        self.columns_, first = self._find_columns(columns)
        others = np.delete(np.arange(self.n_features_in_), first)
        self.column_order_ = np.concatenate([first, others])
        features = self._features_of(X)
        self.scale_ = None
        if self.scale:
            self.scale_ = StandardScaler(with_mean=False).fit(features).scale_
            self.scale_[_FEATURES.index("phi")] = 1.0

    def _find_columns(self, columns):
        """Return what the columns of the four-momentum are, and where they stand."""
        if (names := getattr(self, "feature_names_in_", None)) is None:
            return columns, np.arange(4)
        try:
            if self.columns is not None:
                places = find_components(columns, list(names))
            elif (found := find_momentum(list(names))) is not None:
                columns, places = tuple(found), list(found.values())
            else:
                places = None
        except ValueError as error:
            raise ValueError(
                f"X is not read by its names: {error}. Rename its columns, set columns=, or pass on "
                "X.to_numpy(), whose first four columns are taken in the order of columns="
            ) from None
        return columns, np.arange(4) if places is None else np.array(places)

    def _features_of(self, X):
        """Return the features, in float64, of momenta that are physical."""
        further = X[:, self.column_order_[4:]]
        return np.column_stack([*features_of_momenta(self._check_momenta(X)), further])

    def _check_momenta(self, X):
        """Name the columns of the four-momentum, in float64, after checking that they are physical."""
        columns, places = list(self.columns_), self.column_order_[:4]
        momentum = dict(zip(columns, X[:, places].T.astype(np.float64), strict=True))
        remedy = f"Drop these rows, or check that columns={tuple(columns)} is the order of X."
        for name in ("pt", "E"):
            if name in momentum and (bad := momentum[name] <= 0.0).any():
                place = places[columns.index(name)]
                raise ValueError(
                    f"X has {bad.sum()} rows with {name} <= 0 in {name_column(self, place)} "
                    f"(min {momentum[name].min():.6g}); {name} must be positive. {remedy}"
                )
        if "px" in momentum and (bad := (momentum["px"] == 0.0) & (momentum["py"] == 0.0)).any():
            raise ValueError(
                f"X has {bad.sum()} rows with px = py = 0, which have no η and φ; drop these rows."
            )
        if "E" in momentum and (bad := are_below_mass_shell(momentum)).any():
            row = X[bad.argmax(), places]
            raise ValueError(
                f"X has {bad.sum()} rows whose E is below the momentum by more than 1e-4 of it, the "
                f"first is row {bad.argmax()}: {row}. {remedy}"
            )
        if "eta" in momentum:
            for clause in implausible_angles(momentum["eta"], momentum["phi"]):
                warn(f"{clause}.", UnitsWarning)
        return momentum
