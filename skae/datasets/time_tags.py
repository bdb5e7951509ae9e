"""Correlations of time tags, as a time tagger writes them: exact counts, and g²(τ)."""

from numbers import Integral

import numpy as np
from sklearn.utils import Bunch

from skae._parameters import POSITIVE, arguments
from skae._sklearn import Interval
from skae.datasets._pair_counts import count_pairs
from skae.datasets._ticks import alive, as_ticks, check_sorted

# Tags, and pairs of them, that are in memory together: few enough for the caches of a core.
_TAGS_AT_ONCE = 2**13
_PAIRS_AT_ONCE = 2**16


@arguments(
    t1="array-like",
    t2=["array-like", None],
    edges="array-like",
    normalize="boolean",
    duration=[POSITIVE, None],
    dead_time=Interval(Integral, 0, None, closed="left"),
)
def correlate_tags(t1, t2, edges, *, normalize=False, duration=None, dead_time=0):
    r"""Count the pairs of tags of two detectors by their delays.

    All pairs count, not only those of neighbours (start–multistop): delays :math:`\tau = t_2 - t_1`, in
    whole ticks and without rounding, also of mapped files that are larger than memory.

    Parameters
    ----------
    t1, t2 : array-like of shape (n_tags,)
        Times in ticks, in order: integers of any type, or floats that are whole. :func:`load_time_tags`
        reads them. ``t2=None`` stands for the autocorrelation of t1: each tag with all others, before and
        after it, but not with itself.
    edges : array-like of shape (n_bins + 1,)
        Edges of the bins in ticks, whole and increasing. A bin takes delays from its lower edge to one
        tick below the upper one.
    normalize : bool, default=False
        Whether to divide by what light without correlations gives at the same rates: g²(τ).
    duration : float, default=None
        How long tags were taken, T, in ticks. Needed with ``normalize=True``.
    dead_time : int, default=0
        Tags that come less than so many ticks after the last one kept of their detector are left out
        before anything is counted. A tag that is left out does not prolong the dead time. 1 leaves only
        one of those at the same tick. The tags that are kept are copied into memory.

    Returns
    -------
    correlation : :class:`~sklearn.utils.Bunch`
        Dictionary-like, with the following attributes.

        counts : ndarray of shape (n_bins,)
            Pairs in each bin, int64. With ``normalize=True`` g², float64, NaN where no pair can be:
            beyond ±T, and without tags.
        tau : ndarray of shape (n_bins,)
            Means of the delays that a bin can hold: ``(lower + upper - 1) / 2``, in ticks.
        edges : ndarray of shape (n_bins + 1,)
            Edges, int64.

    Raises
    ------
    ValueError
        If times are not in order, or not whole, if edges do not increase, or if ``duration`` is missing
        or shorter than the tags last.

    See Also
    --------
    load_time_tags : Reads time tags from files.
    skae.PhotonCorrelationFit : Fits g²(0) and lifetimes to counts.

    Notes
    -----
    Of :math:`N_1` and :math:`N_2` tags spread evenly over T ticks,

    .. math:: \frac{N_1 N_2}{T^2} \sum_{\tau = \text{lower}}^{\text{upper} - 1} (T - |\tau|)

    pairs fall into a bin: g² divides by this sum over the ticks of the bin, which for narrow ones is
    :math:`N_1 N_2 \Delta (T - |\tau|) / T^2`. For an autocorrelation :math:`N_1 N_2` is
    :math:`N_1 (N_1 - 1)`. Numbers of tags are those after the dead time.

    Pairs are listed only where bins hold few of them. Of wide bins the pairs below each edge are counted,
    by the places of tags in the other row, so that edges from 1 to :math:`10^{12}` ticks cost time in
    proportion to the number of tags and edges, not of pairs.

    Examples
    --------
    >>> from skae.datasets import correlate_tags
    >>> g2 = correlate_tags([0, 100, 200], [3, 103, 203], [-10, 0, 10, 110])
    >>> g2.counts, g2.tau
    (array([0, 3, 2]), array([-5.5,  4.5, 59.5]))

    Edges that are even in the logarithm, of independent tags at 1 MHz in ticks of 1 ns:

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> first, second = np.sort(rng.integers(10**8, size=(2, 10**5)))
    >>> edges = np.unique(np.geomspace(1, 10**7, 8).astype(int))
    >>> g2 = correlate_tags(first, second, edges, normalize=True, duration=10**8)
    >>> bool(abs(g2.counts[-1] - 1) < 0.01)
    True
    """
    first = as_ticks(t1, "t1")
    second = first if t2 is None else as_ticks(t2, "t2")
    edges = _check_edges(edges)
    check_sorted(first, "t1")
    if t2 is not None:
        check_sorted(second, "t2")
    if normalize:
        _check_duration(duration, first, second)
    first = alive(first, int(dead_time))
    second = first if t2 is None else alive(second, int(dead_time))
    counts = count_pairs(
        first, second, edges, tags_at_once=_TAGS_AT_ONCE, pairs_at_once=_PAIRS_AT_ONCE
    )
    if t2 is None and edges[0] <= 0 < edges[-1]:
        counts[np.searchsorted(edges, 0, side="right") - 1] -= len(first)  # each with itself
    if normalize:
        n_pairs = len(first) * (len(first) - 1 if t2 is None else len(second))
        counts = _as_g2(counts, edges, n_pairs, float(duration))
    lower, upper = edges[:-1], edges[1:]
    return Bunch(counts=counts, tau=0.5 * lower + 0.5 * (upper - 1), edges=edges)


def _check_edges(edges):
    edges = as_ticks(edges, "edges")
    if len(edges) < 2 or not (edges[1:] > edges[:-1]).all():
        raise ValueError(
            "edges must be two or more ticks that increase; numpy.unique(edges) sorts them, each once"
        )
    return edges


def _check_duration(duration, first, second):
    if duration is None:
        raise ValueError(
            "normalize=True needs duration, how long tags were taken, in ticks: g² follows from the rates"
        )
    ends = [row[[0, -1]].tolist() for row in (first, second) if len(row)]
    span = max(end for _, end in ends) - min(start for start, _ in ends) + 1 if ends else 0
    if span > duration:
        raise ValueError(
            f"duration={duration!r} is shorter than the tags last, {span} ticks; give it in ticks, not "
            "in seconds"
        )


def _as_g2(counts, edges, n_pairs, duration):
    """Divide counts by what tags give that are spread evenly."""
    longest = int(min(duration, 2**62))
    edges = np.clip(edges, -longest, longest)
    after, before = np.maximum(edges, 0), np.maximum(1 - edges, 1)  # |τ|; 0 is on the first side
    ticks = np.zeros(len(counts))
    for start, end in ((after[:-1], after[1:]), (before[1:], before[:-1])):
        width = np.maximum(end - start, 0)
        ticks += width * ((longest - start) - 0.5 * (width - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return counts / (n_pairs / duration * (ticks / duration))
