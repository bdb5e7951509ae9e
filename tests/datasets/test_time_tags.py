"""correlate_tags counts every pair once, exactly, whichever way it counts and in little memory."""

import bisect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skae.datasets import _pair_counts, _ticks, correlate_tags
from skae.datasets._pair_counts import count_pairs
from skae.datasets._ticks import alive

LARGEST = np.iinfo(np.int64).max

tags = st.lists(st.integers(-60, 60), max_size=25).map(sorted)
edges_of_bins = st.lists(st.integers(-150, 150), min_size=2, max_size=12, unique=True).map(sorted)


def by_pairs(first, second, edges, *, skip_self=False):
    """Every pair, one by one."""
    counts = [0] * (len(edges) - 1)
    for i, start in enumerate(first):
        for j, stop in enumerate(second):
            place = bisect.bisect_right(edges, stop - start) - 1
            if not (skip_self and i == j) and 0 <= place < len(counts):
                counts[place] += 1
    return counts


def one_by_one(row, dead_time):
    """What a detector sees that is dead for a while after each click."""
    kept = []
    for tag in row:
        if not kept or tag - kept[-1] >= dead_time:
            kept.append(tag)
    return kept


def ticks(row):
    return np.array(row, dtype=np.int64)


@given(tags, tags, edges_of_bins)
def test_every_pair_counts_once(first, second, edges):
    g2 = correlate_tags(ticks(first), ticks(second), edges)
    assert g2.counts.tolist() == by_pairs(first, second, edges)
    assert g2.counts.dtype == np.int64
    np.testing.assert_array_equal(g2.edges, edges)


@given(tags, edges_of_bins)
def test_an_autocorrelation_leaves_out_each_tag_with_itself(row, edges):
    counts = correlate_tags(ticks(row), None, edges).counts
    assert counts.tolist() == by_pairs(row, row, edges, skip_self=True)


def test_coincident_tags_of_one_row_are_pairs():
    assert correlate_tags([5, 5, 9], None, [-1, 0, 1]).counts.tolist() == [0, 2]


@settings(deadline=None)
@pytest.mark.parametrize("pairs_of_an_edge", [0.0, 0.3, np.inf], ids=["edges", "both", "pairs"])
@given(tags, tags, edges_of_bins, st.integers(1, 5), st.integers(1, 7))
def test_both_ways_of_counting_agree_in_blocks_of_any_size(
    pairs_of_an_edge, first, second, edges, tags_at_once, pairs_at_once
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_pair_counts, "_PAIRS_OF_AN_EDGE", pairs_of_an_edge)
        counts = count_pairs(
            ticks(first), ticks(second), ticks(edges),
            tags_at_once=tags_at_once, pairs_at_once=pairs_at_once,
        )  # fmt: skip
    assert counts.tolist() == by_pairs(first, second, edges)


@pytest.mark.parametrize(
    "edges",
    [np.arange(-40, 41, 4), [-40, -39, -3, 5, 40], [0, 7, 2**20]],
    ids=["even", "uneven", "wide"],
)
@pytest.mark.parametrize("table", [0, 2**18])
def test_bins_of_any_widths_are_filled_pair_by_pair(edges, table, monkeypatch):
    monkeypatch.setattr(_pair_counts, "_PAIRS_OF_AN_EDGE", np.inf)
    monkeypatch.setattr(_pair_counts, "_TABLE", table)
    first, second = np.sort(np.random.default_rng(0).integers(500, size=(2, 60)))
    edges = ticks(edges)
    assert correlate_tags(first, second, edges).counts.tolist() == by_pairs(
        first.tolist(), second.tolist(), edges.tolist()
    )


@given(tags, st.integers(0, 30), st.integers(1, 4))
def test_a_dead_detector_is_blind_but_not_for_longer(row, dead_time, at_once):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_ticks, "_TAGS_AT_ONCE", at_once)
        assert alive(ticks(row), dead_time).tolist() == one_by_one(row, dead_time)


def test_a_dead_time_applies_to_each_row():
    first, second, edges = [0, 3, 6, 20], [1, 2, 30], [-40, 0, 40]
    counts = correlate_tags(first, second, edges, dead_time=5).counts
    assert counts.tolist() == by_pairs([0, 6, 20], [1, 30], edges)
    alone = correlate_tags(first, None, edges, dead_time=5).counts
    assert alone.tolist() == by_pairs([0, 6, 20], [0, 6, 20], edges, skip_self=True)
    assert correlate_tags([4, 4, 4], None, [0, 1], dead_time=1).counts.tolist() == [0]
    assert correlate_tags([4, 9], None, [0, 99], dead_time=2**80).counts.tolist() == [0]


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.int32, np.float64, ">i8"])
def test_tags_of_any_type_give_the_same(dtype):
    first, second = np.sort(np.random.default_rng(0).integers(10**6, size=(2, 300)))
    edges = np.array([-(10**5), -10, 0, 10**5])
    expected = correlate_tags(first, second, edges).counts
    given = correlate_tags(first.astype(dtype), second.astype(dtype), edges.astype(np.float64))
    np.testing.assert_array_equal(given.counts, expected)
    np.testing.assert_array_equal(
        correlate_tags(first.tolist(), second.tolist(), edges.tolist()).counts, expected
    )


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_mapped_tags_are_never_in_memory_as_a_whole(dtype, tmp_path, monkeypatch):
    first, second = np.sort(np.random.default_rng(0).integers(10**6, size=(2, 1000)))
    edges = np.unique(np.geomspace(1, 10**6, 30).astype(int))
    for name, row in (("first", first), ("second", second)):
        np.save(tmp_path / f"{name}.npy", row.astype(dtype))
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("first", "second")]
    assert all(np.shares_memory(_ticks.as_ticks(row, "t1"), row) for row in mapped)
    longest = []
    asked = np.searchsorted

    def noted(row, values, **options):
        longest.append(np.size(values))
        return asked(row, values, **options)

    monkeypatch.setattr("skae.datasets.time_tags._TAGS_AT_ONCE", 100)
    monkeypatch.setattr(_pair_counts.np, "searchsorted", noted)
    counts = correlate_tags(*mapped, edges).counts
    assert max(longest) <= 100
    np.testing.assert_array_equal(counts, correlate_tags(first, second, edges).counts)
    assert counts.tolist() == by_pairs(first.tolist(), second.tolist(), edges.tolist())


def test_whole_numbers_are_exact_where_floats_are_not():
    start = 2**60 + 1
    g2 = correlate_tags([start, start + 7], [start + 1, start + 8], [0, 1, 2, 9])
    assert g2.counts.tolist() == [0, 2, 1]


def test_edges_beyond_all_tags_do_not_overflow():
    edges = [-LARGEST - 1, -100, 0, 100, LARGEST]
    counts = correlate_tags([LARGEST - 150, LARGEST - 103], [LARGEST - 120], edges).counts
    assert counts.tolist() == [0, 1, 1, 0]
    with pytest.raises(ValueError, match=r"too far apart.*subtract the first"):
        correlate_tags([-LARGEST], [LARGEST], edges)


def test_more_pairs_than_fit_into_memory_are_counted_by_their_edges():
    """4 × 10¹⁰ pairs, 300 GB, in a moment."""
    first = np.arange(200_000)
    counts = correlate_tags(first, first, [-(10**6), 0, 1, 10**6]).counts
    n = len(first)
    assert counts.tolist() == [n * (n - 1) // 2, n, n * (n - 1) // 2]


@pytest.mark.parametrize("other", ["another row", None])
def test_independent_light_has_a_g2_of_one(other):
    rng, duration = np.random.default_rng(0), 10**9
    first, second = (np.sort(rng.integers(duration, size=40_000)) for _ in range(2))
    second = second if other else None
    edges = np.concatenate(
        [[-(2 * 10**9), -(10**9), -(10**8)], np.linspace(0, 10**9, 11).astype(int)]
    )
    g2 = correlate_tags(first, second, edges, normalize=True, duration=duration)
    pairs = correlate_tags(first, second, edges).counts
    assert np.isnan(g2.counts[0])
    np.testing.assert_array_less(abs(g2.counts[1:-1] - 1), 6 / np.sqrt(pairs[1:-1]) + 0.02)
    assert abs(g2.counts[1] - 1) < 0.02


@given(st.integers(1, 12), edges_of_bins)
def test_tags_at_every_tick_have_a_g2_of_exactly_one(n, edges):
    """Spread evenly without chance: the sum over ticks is then no approximation."""
    row = np.arange(n)
    g2 = correlate_tags(row, row, edges, normalize=True, duration=n).counts
    possible = correlate_tags(row, row, edges).counts > 0
    np.testing.assert_allclose(g2[possible], 1.0)
    assert np.isnan(g2[~possible]).all()


def test_narrow_bins_keep_their_digits_after_hours_of_picoseconds():
    n, duration = 3, 36_000 * 10**12
    edges = [duration - 10, duration - 9]
    g2 = correlate_tags([0, 1, 2], [duration - 10] * 3, edges, normalize=True, duration=duration)
    assert g2.counts[0] == pytest.approx(3 / (n * n * 10 / duration**2), rel=1e-9)


def test_delays_are_the_means_of_those_that_a_bin_can_hold():
    g2 = correlate_tags([0], [0], [-2, -1, 0, 1, 5, 11])
    np.testing.assert_array_equal(g2.tau, [-2.0, -1.0, 0.0, 2.5, 7.5])


@pytest.mark.parametrize("other", [[], None, [3]])
def test_rows_without_tags_have_no_pairs(other):
    g2 = correlate_tags([], other, [-5, 0, 5])
    assert g2.counts.tolist() == [0, 0]
    normalised = correlate_tags([], other, [-5, 0, 5], normalize=True, duration=100, dead_time=3)
    assert np.isnan(normalised.counts).all()


def test_one_tag_and_negative_edges():
    assert correlate_tags([7], None, [-5, 0, 5]).counts.tolist() == [0, 0]
    assert correlate_tags([7], [3, 4, 7], [-5, -4, -3]).counts.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("first", "second", "edges", "options", "message"),
    [
        ([3, 1], [2], [0, 1], {}, "t1 is not in order: tag 1 is 1, the one before 3; sort it"),
        ([1], [2, 5, 4], [0, 1], {}, "t2 is not in order: tag 2 is 4"),
        ([0.5], [2], [0, 1], {}, r"t1 has 0.5, .* numpy.rint\(t1 / resolution\)"),
        ([np.nan], [2], [0, 1], {}, "t1 has nan"),
        ([2.0**60], [2], [0, 1], {}, "no whole number of ticks that float64 holds"),
        (["a"], [2], [0, 1], {}, "t1 has values of type .*; give whole ticks"),
        ([[1]], [2], [0, 1], {}, r"t1 has shape \(1, 1\); give one row"),
        (np.array([2**63], dtype=np.uint64), [2], [0, 1], {}, "t1 reaches .* subtract the first tag"),
        ([1], [2], [0], {}, "edges must be two or more"),
        ([1], [2], [0, 0], {}, r"numpy.unique\(edges\)"),
        ([1], [2], [0, 0.5], {}, "edges has 0.5"),
        ([1], [2], [0, 1], {"normalize": True}, "needs duration"),
        ([1], [9], [0, 1], {"normalize": True, "duration": 8}, "shorter than the tags last, 9 ticks"),
        ([1], [2], [0, 1], {"dead_time": -1}, "dead_time"),
    ],
)  # fmt: skip
def test_what_is_no_row_of_ticks_is_refused(first, second, edges, options, message):
    with pytest.raises(ValueError, match=message):
        correlate_tags(first, second, edges, **options)


def test_order_is_checked_across_blocks(monkeypatch):
    monkeypatch.setattr(_ticks, "_TAGS_AT_ONCE", 2)
    correlate_tags([1, 2, 3, 4, 5], None, [0, 1])
    with pytest.raises(ValueError, match="tag 2 is 1, the one before 2"):
        correlate_tags([1, 2, 1, 4, 5], None, [0, 1])
