"""Scorers for searches over generative models: how far what they draw is from real rows."""

from inspect import signature
from typing import Any

from sklearn.utils.metadata_routing import MetadataRequest

from skae._parameters import arguments
from skae._sklearn import StrOptions
from skae.metrics import (
    classifier_two_sample_test,
    frechet_physics_distance,
    kernel_physics_distance,
    separation_power,
    shower_features,
    shower_response,
)
from skae.metrics.shower_observables import RESPONSE_BINS, check_showers
from skae.physics.calorimeter import CaloGeometry
from skae.sampling import sample

__all__ = ["ShowerScorer", "make_shower_scorer"]

_METRICS = {
    "frechet": frechet_physics_distance,
    "kernel": kernel_physics_distance,
    "classifier": classifier_two_sample_test,
    "response": separation_power,
}

# Arguments of the metrics that the scorer gives itself.
_OWN = {"real", "generated", "sample_weight", "return_floor", "random_state"}


@arguments(
    metric=StrOptions(set(_METRICS)),
    geometry=[str, CaloGeometry],
    random_state="random_state",
)
def make_shower_scorer(metric="frechet", *, geometry="dataset_2", random_state=0, **options):
    """Return a scorer of models of showers, for ``scoring=`` of GridSearchCV and others.

    It draws showers at the incident energies of those held out, and compares. More is better, as
    scikit-learn has it, so distances are negative.

    Parameters
    ----------
    metric : {"frechet", "kernel", "classifier", "response"}, default="frechet"
        What is compared: :func:`~skae.metrics.frechet_physics_distance`,
        :func:`~skae.metrics.kernel_physics_distance` or
        :func:`~skae.metrics.classifier_two_sample_test` of :func:`~skae.metrics.shower_features`; or
        :func:`~skae.metrics.separation_power` of the total over the incident energy, in 100 bins
        from 0.5 to 1.5.
    geometry : str or CaloGeometry, default="dataset_2"
        Where voxels are.
    random_state : int, RandomState instance or None, default=0
        Of the showers that are drawn.
    **options
        Arguments of the metric, but for its seed. For "frechet" batches are half as many showers as there
        are, up to all of them, unless ``min_samples`` and ``max_samples`` are given.

    Returns
    -------
    scorer : ShowerScorer
        Called with a model, real showers in MeV, and perhaps ``y`` and ``sample_weight``.

    Examples
    --------
    >>> import skae
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn.pipeline import make_pipeline
    >>> from skae.datasets import make_showers
    >>> X = make_showers(200, geometry="dataset_1_photons", random_state=0)
    >>> model = make_pipeline(
    ...     skae.LogRatioTransformer("log1p", reference=0),
    ...     skae.CaloShowerVAE(geometry="dataset_1_photons", max_epochs=1),
    ... )
    >>> search = GridSearchCV(
    ...     model,
    ...     {"caloshowervae__n_components": [2, 8]},
    ...     scoring=skae.make_shower_scorer("response", geometry="dataset_1_photons"),
    ...     cv=2,
    ... )
    >>> best = search.fit(X).best_estimator_
    """
    allowed = set(signature(_METRICS[metric]).parameters) - _OWN
    if unknown := set(options) - allowed:
        raise TypeError(
            f"make_shower_scorer({metric!r}) has no option {', '.join(map(repr, sorted(unknown)))}; "
            f"there are {', '.join(map(repr, sorted(allowed)))}."
        )
    return ShowerScorer(metric, geometry, random_state, options)


class ShowerScorer:
    """Scorer of :func:`make_shower_scorer`; it pickles, for searches in several processes.

    Weights that a search is fitted with are those of the showers held out. Where scikit-learn's metadata
    routing is enabled, ask for them with ``set_score_request(sample_weight=True)``.

    Parameters
    ----------
    metric, geometry, random_state
        As there.
    options : dict
        Arguments of the metric.

    Examples
    --------
    >>> import skae
    >>> skae.make_shower_scorer("kernel", batch_size=500)
    ShowerScorer('kernel', batch_size=500)
    """

    def __init__(self, metric: str, geometry: Any, random_state: Any, options: dict[str, Any]):
        self.metric = metric
        self.geometry = geometry
        self.random_state = random_state
        self.options = options
        self._request = MetadataRequest(owner=self)
        self.set_score_request(sample_weight=None)

    def set_score_request(self, *, sample_weight: bool | str | None) -> "ShowerScorer":
        """Say whether weights are asked for, where metadata routing is enabled.

        Parameters
        ----------
        sample_weight : bool, str or None
            True, False, or the name under which a search is handed them. None makes it an error to hand
            weights to the search.

        Returns
        -------
        self : ShowerScorer
            The scorer.
        """
        self._request.score.add_request(param="sample_weight", alias=sample_weight)
        return self

    def get_metadata_routing(self) -> MetadataRequest:
        """Return what is asked for.

        Returns
        -------
        routing : MetadataRequest
            As scikit-learn has it.
        """
        return self._request

    def __repr__(self) -> str:
        arguments = [repr(self.metric), *(f"{k}={v!r}" for k, v in self.options.items())]
        return f"ShowerScorer({', '.join(arguments)})"

    def __call__(self, estimator: Any, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Draw showers at the incident energies of X, and return how near they are."""
        real, geometry = check_showers(X, self.geometry)
        generated, _ = check_showers(
            sample(estimator, real[:, 0], random_state=self.random_state), geometry
        )
        options = dict(self.options)
        if sample_weight is not None:  # energies are those of real rows, and so are their weights
            options["sample_weight"] = (sample_weight, sample_weight)
        if self.metric == "response":
            pair = [shower_response(part, geometry=geometry) for part in (real, generated)]
            return -separation_power(*pair, **{"bins": RESPONSE_BINS, **options})
        pair = [shower_features(part, geometry=geometry) for part in (real, generated)]
        if self.metric == "frechet":
            sizes = {"min_samples": max(2, len(real) // 2), "max_samples": max(3, len(real))}
            return -frechet_physics_distance(*pair, **{**sizes, **options}).value
        if self.metric == "kernel":
            return -kernel_physics_distance(*pair, **options).value
        auc = classifier_two_sample_test(*pair, random_state=0, **options).auc
        return -max(auc, 1.0 - auc)  # below one half is chance
