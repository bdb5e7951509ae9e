"""resample_spectra conserves flux, carries errors, and invents no pixels."""

import numpy as np
import pytest

from skae.datasets import load_spectra, resample_spectra
from skae.exceptions import UnusedDataWarning

OLD = np.linspace(4000.0, 5000.0, 101)  # pixels of 10, from 3995 to 5005


def spectra_of(data, errors=None, wavelengths=OLD, **more):
    return {
        "data": np.atleast_2d(data), "errors": None if errors is None else np.atleast_2d(errors),
        "wavelengths": wavelengths, **more,
    }  # fmt: skip


def by_hand(data, errors, old, new):
    """Overlaps in a loop over pairs of pixels, for grids without gaps, fully seen."""

    def edges(grid):
        middle = (grid[1:] + grid[:-1]) / 2
        return np.r_[2 * grid[0] - middle[0], middle, 2 * grid[-1] - middle[-1]]

    old, new = edges(old), edges(new)
    flux, sigma = np.full((2, len(new) - 1), np.nan)
    for k in range(len(new) - 1):
        overlaps = [
            max(0.0, min(old[j + 1], new[k + 1]) - max(old[j], new[k])) for j in range(len(old) - 1)
        ]
        if sum(overlaps) > 0.999 * (new[k + 1] - new[k]):
            flux[k] = np.dot(overlaps, data) / sum(overlaps)
            sigma[k] = np.sqrt(np.dot(np.square(overlaps), np.square(errors))) / sum(overlaps)
    return flux, sigma


GRIDS = {
    "wider": np.arange(3990.0, 5020.0, 37.0),
    "finer": np.arange(3990.0, 5020.0, 3.1),
    "logarithmic": np.geomspace(3950.0, 5050.0, 83),
}


@pytest.mark.parametrize("new", GRIDS.values(), ids=GRIDS)
def test_fluxes_and_errors_are_those_of_the_formula_and_nan_outside(new, rng):
    data, errors = rng.normal(size=(3, 101)), rng.uniform(0.1, 2.0, (3, 101))
    found = resample_spectra(spectra_of(data, errors), new)
    for j in range(3):
        flux, sigma = by_hand(data[j], errors[j], OLD, new)
        np.testing.assert_allclose(found.data[j], flux, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.errors[j], sigma, rtol=1e-9)
    assert np.isnan(found.data[:, [0, -1]]).all()
    np.testing.assert_array_equal(found.wavelengths, new)


def test_the_same_grid_changes_nothing(rng):
    data, errors = rng.normal(size=(2, 101)), rng.uniform(0.1, 2.0, (2, 101))
    errors[0, 4:9] = np.nan
    found = resample_spectra(spectra_of(data, errors), OLD)
    np.testing.assert_allclose(found.errors, errors, rtol=1e-12)
    np.testing.assert_allclose(found.data, np.where(np.isnan(errors), np.nan, data), rtol=1e-12)


def test_constants_stay_constant_and_fluxes_under_a_spectrum_are_conserved(rng):
    constant = {"data": np.full(101, 7.0), "wavelengths": OLD}  # one spectrum, as it is
    np.testing.assert_allclose(
        resample_spectra(constant, GRIDS["wider"][1:-1]).data, 7.0, rtol=1e-14
    )
    data = rng.normal(size=(2, 101))
    new = np.linspace(3995.0, 5005.0, 30)  # 29 pixels between: their edges are those of the old
    new = 0.5 * (new[1:] + new[:-1])
    found = resample_spectra(spectra_of(data), new)
    np.testing.assert_allclose(found.data.sum(axis=1) * (new[1] - new[0]), 10.0 * data.sum(axis=1))
    assert found.errors is None


def test_the_errors_of_a_mean_of_n_pixels_fall_as_its_root():
    found = resample_spectra(spectra_of(np.ones(101), np.full(101, 0.3)), [4045.0, 4145.0, 4245.0])
    np.testing.assert_allclose(found.errors, 0.3 / np.sqrt(10.0))


def test_errors_are_the_scatter_of_resampled_noise(rng):
    sigma = rng.uniform(0.5, 2.0, 101)
    noise = sigma * rng.standard_normal((20000, 101))
    found = resample_spectra(
        spectra_of(noise, np.broadcast_to(sigma, noise.shape)), GRIDS["wider"][1:-1]
    )
    np.testing.assert_allclose(found.data.std(axis=0), found.errors[0], rtol=0.03)


def test_falling_grids(rng):
    data, errors = rng.normal(size=(2, 101)), rng.uniform(0.1, 2.0, (2, 101))
    new = GRIDS["logarithmic"]
    expected = resample_spectra(spectra_of(data, errors), new)
    for flip_old, flip_new in ((-1, 1), (1, -1), (-1, -1)):
        turned = spectra_of(data[:, ::flip_old], errors[:, ::flip_old], OLD[::flip_old])
        found = resample_spectra(turned, new[::flip_new])
        np.testing.assert_allclose(found.data[:, ::flip_new], expected.data)
        np.testing.assert_allclose(found.errors[:, ::flip_new], expected.errors)


@pytest.mark.parametrize("unseen", [np.nan, 0.0, np.inf, -1.0])
def test_pixels_that_were_not_seen_have_no_part(unseen):
    data, errors = np.ones(101), np.full(101, 0.1)
    data[50], errors[50] = 1e30, unseen  # 4500, from 4495 to 4505
    new = np.array([4470.0, 4490.0, 4510.0, 4530.0])  # edges at 4500 cut it in halves
    found = resample_spectra(spectra_of(data, errors), new)
    np.testing.assert_allclose(found.data, 1.0)
    np.testing.assert_allclose(found.errors[0, 1], np.hypot(0.1 * 10, 0.1 * 5) / 15)
    strict = resample_spectra(spectra_of(data, errors), new, min_seen=1.0)
    np.testing.assert_array_equal(np.isnan(strict.data), [[False, True, True, False]])
    data[49:52] = np.nan  # 4485 to 4515: of each of both 3/4 are unseen
    found = resample_spectra(spectra_of(data, errors), new)
    np.testing.assert_array_equal(np.isnan(found.data), [[False, True, True, False]])
    loose = resample_spectra(spectra_of(data, errors), new, min_seen=0.25)
    np.testing.assert_allclose(loose.data, 1.0)


def test_nothing_is_made_up_beyond_what_a_row_has_seen():
    data = np.ones((2, 101))
    data[0, :20], data[0, 80:] = np.nan, np.nan  # seen from 4195 to 4795
    found = resample_spectra(spectra_of(data), np.arange(3900.0, 5100.0, 20.0))
    grid = found.wavelengths
    for row, (low, high) in enumerate(((4195, 4795), (3995, 5005))):
        is_inside = (grid - 10 >= low) & (grid + 10 <= high)
        np.testing.assert_array_equal(~np.isnan(found.data[row]), is_inside)


def test_gaps_in_a_grid_stay_gaps():
    """Two arms with nothing between them, as LAMOST's of medium resolution."""
    grid = np.r_[np.arange(4950.0, 5350.0, 0.5), np.arange(6300.0, 6800.0, 0.5)]
    found = resample_spectra(spectra_of(np.ones(len(grid)), None, grid), np.arange(5000, 6700, 5.0))
    # half of the pixel at 5350 is not seen, and less of that at 6300
    is_between = (found.wavelengths > 5347.5) & (found.wavelengths < 6299)
    np.testing.assert_array_equal(np.isnan(found.data[0]), is_between)


def test_redshifts_bring_lines_to_rest(rng):
    grid = np.arange(3600.0, 9800.0, 0.8)
    z = rng.uniform(0.0, 0.4, 12)
    data = np.exp(-0.5 * ((grid / (1.0 + z[:, np.newaxis]) - 5008.24) / 5.0) ** 2)
    rest = np.arange(4950.0, 5060.0, 1.0)
    given = spectra_of(data, np.ones_like(data), grid, redshifts=z)
    found = resample_spectra(given, rest, redshifts=z)
    expected = np.exp(-0.5 * ((rest - 5008.24) / 5.0) ** 2)
    np.testing.assert_allclose(found.data, np.tile(expected, (12, 1)), atol=0.01)
    same = resample_spectra(given, rest, redshifts="file")
    np.testing.assert_array_equal(same.data, found.data)
    # as pixels of the rest frame
    for j in range(3):
        alone = spectra_of(data[j], np.ones(len(grid)), grid / (1.0 + z[j]))
        moved = resample_spectra(alone, rest)
        np.testing.assert_allclose(found.data[j], moved.data[0], rtol=1e-9)
        np.testing.assert_allclose(found.errors[j], moved.errors[0], rtol=1e-9)


def test_spectra_of_different_grids_make_one_table_in_their_order(rng):
    first = spectra_of(rng.normal(size=(2, 101)), ids=np.array(["a", "b"]), medium="vacuum")
    grid = np.linspace(4100.0, 4900.0, 55)
    second = spectra_of(rng.normal(size=55), None, grid, ids=np.array(["c"]), medium="vacuum")
    own = spectra_of(rng.normal(size=(2, 55)), None, np.stack([grid, grid + 3]), ids=["d", "e"])
    own["wavelengths"][1, -5:] = np.nan  # padded
    new = np.linspace(4200.0, 4800.0, 20)
    found = resample_spectra([first, second, own], new)
    assert list(found.ids) == ["a", "b", "c", "d", "e"]
    assert found.medium is None  # the last does not say
    pairs = [
        (first["data"][1], OLD),
        (second["data"][0], grid),
        (own["data"][0], grid),
        (own["data"][1, :-5], grid[:-5] + 3),
    ]
    for j, (data, old) in enumerate(pairs, start=1):
        flux, _ = by_hand(data, np.ones(len(data)), old, new)
        np.testing.assert_allclose(found.data[j], flux, rtol=1e-9, atol=1e-12)


def test_files_of_different_grids(tmp_path, rng):
    for name, n in (("a", 30), ("b", 40)):
        grid = np.linspace(400.0, 700.0, n)
        lines = [f"{x},{5 + x / 100},{0.1}" for x in grid]
        (tmp_path / f"{name}.csv").write_text("\n".join(["wavelength,flux,error", *lines]))
    spectra = load_spectra(tmp_path, as_list=True)
    found = resample_spectra(spectra, np.linspace(420.0, 680.0, 14))
    np.testing.assert_allclose(found.data, np.tile(5 + found.wavelengths / 100, (2, 1)), rtol=1e-3)
    assert [file[-5:] for file in found.files] == ["a.csv", "b.csv"]


def test_spectra_that_do_not_reach_are_named():
    with pytest.warns(UnusedDataWarning, match="1 of 2 spectra do not reach these wavelengths"):
        found = resample_spectra(
            [spectra_of(np.ones(101)), spectra_of(np.ones(101), None, OLD + 5000)],
            [4200.0, 4300.0],
        )
    np.testing.assert_array_equal(np.isnan(found.data), [[False, False], [True, True]])


ONES = spectra_of(np.ones((2, 101)), np.ones((2, 101)))


@pytest.mark.parametrize(
    ("given", "arguments", "message"),
    [
        ([], {}, "empty list"),
        ({"data": np.ones((1, 5))}, {}, "spectra have no 'wavelengths'"),
        (spectra_of(np.ones(5)), {}, r"data has shape \(1, 5\) and wavelengths \(101,\)"),
        (spectra_of(np.ones(3), None, np.array([1.0, 3.0, 2.0])), {}, "a grid of spectra must be"),
        (ONES, {"wavelengths": [4100.0, 4100.0]}, "wavelengths must be at least two numbers"),
        (ONES, {"wavelengths": [4100.0, np.nan]}, "or NaN; give finite ones"),
        (ONES, {"redshifts": [0.1]}, r"redshifts has shape \(1,\); there are 2 spectra"),
        (ONES, {"redshifts": [0.1, np.nan]}, "1 redshifts are NaN, or not above -1, the first of row 1"),
        (ONES, {"redshifts": "file"}, "not all files have some"),
        ({**ONES, "wavelength_unit": "GHz"}, {"redshifts": [0, 0]}, "the grid is in 'GHz'"),
        ([ONES, spectra_of(np.ones(101))], {}, "has no errors and others have"),
        ([{**ONES, "medium": "air"}, {**ONES, "medium": "vacuum"}], {}, "different media"),
        ([{**ONES, "wavelength_unit": "nm"}, {**ONES, "wavelength_unit": "um"}], {}, "units of wave"),
    ],
)  # fmt: skip
def test_what_cannot_be_resampled_is_refused(given, arguments, message):
    with pytest.raises(ValueError, match=message):
        resample_spectra(given, **{"wavelengths": [4100.0, 4200.0], **arguments})
