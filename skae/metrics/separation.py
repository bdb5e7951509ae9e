"""Separation of two samples: by a histogram, and by a classifier."""

import warnings
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_random_state, column_or_1d

from skae._parameters import COUNT, arguments
from skae._sklearn import HasMethods, Interval, StrOptions
from skae.metrics._pairs import check_pair, check_pair_of_weights

# Share of its training rows that the default classifier keeps to find its best epoch by.
_VALIDATION = 0.25

# Both networks: the best of all epochs is kept, by its accuracy on the validation set.
_TRAINING = {
    "learning_rate_init": 2e-4,
    "max_iter": 50,
    "early_stopping": True,
    "validation_fraction": _VALIDATION,
    "n_iter_no_change": 50,
}

# The CaloChallenge's, by its evaluate.py: an input layer, and --cls_n_layer=2 more.
_CALOCHALLENGE = {"hidden_layer_sizes": (2048, 2048, 2048), "alpha": 0.0}

# Rows of each sample without which an area under a curve says nothing.
_FEWEST = 10


@arguments(
    real="array-like",
    generated="array-like",
    bins=[COUNT, "array-like"],
    range=[tuple, None],
    sample_weight=["array-like", tuple, None],
)
def separation_power(
    real: ArrayLike,
    generated: ArrayLike,
    *,
    bins: int | ArrayLike = 100,
    range: tuple[float, float] | None = None,
    sample_weight: tuple[Any, Any] | None = None,
) -> float:
    r"""Return how far two samples of one quantity can be told apart by their histograms.

    .. math:: \frac{1}{2} \sum_i \frac{(h_{1,i} - h_{2,i})^2}{h_{1,i} + h_{2,i}}

    with histograms whose sums are 1: 0 where they are the same, 1 where they do not overlap. For
    two samples of n rows each from one distribution it is about (n_bins − 1) / (2 n).

    Parameters
    ----------
    real, generated : array-like of shape (n_samples,)
        The quantity. The numbers of rows may differ.
    bins : int or array-like of shape (n_bins + 1,), default=100
        Number of equal bins in ``range``, or the edges of bins.
    range : (float, float), default=None
        From where to where; of the total over the incident energy the CaloChallenge takes (0.5, 1.5).
        None takes the range of ``real``. Values outside count for the first and the last bin.
    sample_weight : (array-like or None, array-like or None), default=None
        Weights of the real rows and of the generated ones, not negative.

    Returns
    -------
    separation : float
        From 0 to 1.

    References
    ----------
    C. Krause et al., "CaloChallenge 2022: a community challenge for fast calorimeter simulation", 2024,
    arXiv:2410.21611. Values outside are left out there.

    Examples
    --------
    >>> from skae.metrics import separation_power
    >>> separation_power([0.1, 0.6, 0.7], [0.2, 0.3, 0.8], bins=2, range=(0, 1))  # ½ (1/9 + 1/9)
    0.111...
    """
    samples = [
        column_or_1d(check_array(part, ensure_2d=False, dtype=np.float64, input_name=name))
        for part, name in ((real, "real"), (generated, "generated"))
    ]
    weights = check_pair_of_weights(sample_weight, *samples)
    counted = samples[0] if weights[0] is None else samples[0][weights[0] > 0.0]
    edges = _edges(bins, range, counted)
    shares = []
    for sample, weight in zip(samples, weights, strict=True):
        counts, _ = np.histogram(np.clip(sample, edges[0], edges[-1]), bins=edges, weights=weight)
        shares.append(counts / counts.sum())
    first, second = shares
    filled = first + second > 0.0
    difference, total = (first - second)[filled], (first + second)[filled]
    return min(1.0, float(0.5 * np.sum(difference**2 / total)))


def _edges(bins, limits, real):
    """Return the edges of the bins of a histogram, checked to increase."""
    if isinstance(bins, Integral):
        low, high = (real.min(), real.max()) if limits is None else limits
        if low == high:  # one value: any width will do
            low, high = low - 0.5, high + 0.5
        edges = np.linspace(low, high, int(bins) + 1)
    else:
        edges = np.asarray(bins, dtype=np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0.0).all():
        raise ValueError(
            "bins must be a number of them or two or more edges that increase, and range (low, high) "
            f"with low < high; got bins={bins!r}, range={limits!r}."
        )
    return edges


class ClassifierTwoSampleTest(NamedTuple):
    """Result of a classifier that was to tell two samples apart.

    Parameters
    ----------
    auc : float
        Area under its ROC curve for rows that it was not trained on: 0.5 where it cannot tell, 1 where it
        always can.
    error : float
        Standard error, for the number of these rows.

    Examples
    --------
    >>> from skae.metrics import ClassifierTwoSampleTest
    >>> auc, error = ClassifierTwoSampleTest(0.74, 0.003)
    """

    auc: float
    error: float


@arguments(
    real="array-like",
    generated="array-like",
    classifier=[HasMethods(["fit"]), StrOptions({"calochallenge"}), None],
    test_size=Interval(Real, 0, 1, closed="neither"),
    sample_weight=["array-like", tuple, None],
    random_state="random_state",
)
def classifier_two_sample_test(
    real: ArrayLike,
    generated: ArrayLike,
    *,
    classifier: Any = None,
    test_size: float = 0.2,
    sample_weight: tuple[Any, Any] | None = None,
    random_state: Any = None,
) -> ClassifierTwoSampleTest:
    r"""Train a classifier to tell generated rows from real ones, and return how well it does on others.

    Its probability tends to p/(p + q) for densities p and q: by Neyman and Pearson no other test
    separates better, and a good classifier finds what single histograms hide. A poor one flatters the
    generator, so compare figures of the same classifier only.

    Parameters
    ----------
    real, generated : array-like of shape (n_samples, n_features)
        :func:`shower_features`, or voxels over the incident energy. Equal numbers of rows are best: a
        classifier that sees few of one kind learns little.
    classifier : classifier or "calochallenge", default=None
        What is trained, a clone of it; any of scikit-learn's with ``predict_proba`` or
        ``decision_function``. None is a network with two hidden layers of 512, on standardised columns,
        50 epochs, of which the best on a validation set counts. "calochallenge" is the one of the
        CaloChallenge's evaluation, see the notes; it takes some twenty times as long.
    test_size : float, default=0.2
        Share of rows that are kept from training, and judged by.
    sample_weight : (array-like or None, array-like or None), default=None
        Weights of the real rows and of the generated ones, not negative.
    random_state : int, RandomState instance or None, default=None
        For the split and the default classifier. An integer makes the result reproducible.

    Returns
    -------
    result : ClassifierTwoSampleTest
        Named tuple of AUC and error. The error is of DeLong et al.; that the training set is one
        of many is not in it.

    Notes
    -----
    ``classifier="calochallenge"`` has three hidden layers of 2048 and no dropout. Adam trains it on
    60 % of the rows for 50 epochs, at a rate of 2e-4, on minibatches of 1000 and without weight
    decay; the epoch of the best accuracy on 20 % judges the last 20 %, the ``test_size``. That is
    "cls-high" or "cls-low" of the challenge's code, but for these: units are rectified, without a
    slope of 0.01 below zero; first weights are Glorot's, not PyTorch's; and scores are not
    calibrated by isotonic regression, which keeps their order but for ties.

    Columns are taken as they are. The challenge's high-level ones are those of
    :func:`shower_features`, in this order, with lengths in units of 100 mm::

        lengths = [name.startswith(("centre", "width")) for name in shower_feature_names()]
        unit = np.where(lengths, 100.0, 1.0)
        classifier_two_sample_test(real / unit, generated / unit, classifier="calochallenge")

    Its low-level ones are log₁₀ of the incident energy and voxels over the incident energy. Figures
    are comparable with the challenge's where the showers, and how many there are, are comparable:
    100,000 of each for data sets 2 and 3. With columns that are not standardised it learns slowly:
    of some thousand showers it may not find what the default does.

    References
    ----------
    C. Krause et al., "CaloChallenge 2022: a community challenge for fast calorimeter simulation", 2024,
    arXiv:2410.21611, and its code, https://github.com/CaloChallenge/homepage, ``code/evaluate.py``.

    D. Lopez-Paz and M. Oquab,
    "Revisiting classifier two-sample tests", ICLR 2017, arXiv:1610.06545.

    E. DeLong, D. DeLong and D. Clarke-Pearson, "Comparing the areas under two or more correlated
    receiver operating characteristic curves", Biometrics 44, 837 (1988).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skae.metrics import classifier_two_sample_test
    >>> rng = np.random.default_rng(0)
    >>> real, generated = rng.normal(size=(2000, 2)), rng.normal(1.0, size=(2000, 2))
    >>> auc, error = classifier_two_sample_test(  # exactly Φ(1) = 0.84
    ...     real, generated, classifier=LogisticRegression(), random_state=0
    ... )
    >>> bool(abs(auc - 0.84) < 3 * error)
    True
    """
    rng, is_ours = check_random_state(random_state), classifier in (None, "calochallenge")
    parts = check_pair(real, generated, dtype=(np.float64, np.float32))
    weights = check_pair_of_weights(sample_weight, *parts)
    X = np.concatenate(parts)
    y = np.repeat([0, 1], [len(part) for part in parts])
    weight = np.concatenate(
        [
            np.ones(len(part)) if each is None else each / each.mean()
            for part, each in zip(parts, weights, strict=True)
        ]
    )
    if min(map(len, parts)) < _FEWEST:
        raise ValueError(
            f"real has {len(parts[0])} rows and generated {len(parts[1])}; a classifier that is "
            f"judged by others than it learns from needs {_FEWEST} of each."
        )
    train, test = train_test_split(
        np.arange(len(X)), test_size=test_size, stratify=y, random_state=rng
    )
    model = _network(classifier, rng, len(train)) if is_ours else clone(classifier)
    if not any(hasattr(model, method) for method in ("predict_proba", "decision_function")):
        raise TypeError(
            f"classifier={classifier!r} has neither predict_proba nor decision_function; use a "
            "classifier."
        )
    given = {} if sample_weight is None else _weight_of(model, weight[train])
    with warnings.catch_warnings():
        if is_ours:  # the number of epochs is set, and the best of them is kept
            warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X[train], y[train], **given)
    if hasattr(model, "predict_proba"):
        score = model.predict_proba(X[test])[:, 1]
    else:
        score = model.decision_function(X[test])
    return _weighted_auc(y[test], score, weight[test])


def _network(name, rng, n_samples):
    """Return the default classifier, or the CaloChallenge's, for a number of training rows."""
    batch_size = min(1000, max(1, int((1.0 - _VALIDATION) * n_samples)))
    own = {"batch_size": batch_size, "random_state": rng.randint(2**31), **_TRAINING}
    if name == "calochallenge":
        return MLPClassifier(**_CALOCHALLENGE, **own)
    return make_pipeline(StandardScaler(), MLPClassifier((512, 512), **own))


def _weight_of(model, weight):
    """Return the arguments of ``fit`` by which a classifier, or a Pipeline's last step, gets weights."""
    name = (
        f"{model.steps[-1][0]}__sample_weight" if isinstance(model, Pipeline) else "sample_weight"
    )
    return {name: weight}


def _weighted_auc(y, score, weight):
    """Return the area under the ROC curve and DeLong's error, with weights."""
    scores = [score[y == kind] for kind in (0, 1)]
    weights = [weight[y == kind] / weight[y == kind].sum() for kind in (0, 1)]
    placed = []
    for own, other in ((0, 1), (1, 0)):
        order = np.argsort(scores[other])
        ranked = scores[other][order]
        below = np.concatenate([[0.0], np.cumsum(weights[other][order])])
        left = np.searchsorted(ranked, scores[own], "left")
        right = np.searchsorted(ranked, scores[own], "right")
        placed.append(0.5 * (below[left] + below[right]))
    auc = float(weights[1] @ placed[1])
    shares = (1.0 - placed[0], placed[1])  # of the other kind on the right side of each row
    variance = sum(np.square(weights[kind] * (shares[kind] - auc)).sum() for kind in (0, 1))
    return ClassifierTwoSampleTest(auc, float(np.sqrt(variance)))
