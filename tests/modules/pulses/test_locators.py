"""Networks that give the parameters of a distribution of positions."""

import numpy as np
import pytest
import torch

from skae.modules.pulses.inputs import TraceInputs
from skae.modules.pulses.locators import ReferenceLocator, ResidualLocator, StepConvolution
from skae.modules.pulses.positions import BinDistribution, MixtureDistribution


def locator(law, **options):
    torch.manual_seed(0)
    options = {
        "step": 2, "trace_channels": 3, "n_channels": 4, "kernel_size": 3,
        "dilations": ((1, 2), (1, 2)), "reversible": True, **options,
    }  # fmt: skip
    seen = {"pooled": True, "remove_baseline": True}
    for name in ("pooled", "remove_baseline", "negative", "missing", "limit"):
        if name in options:
            seen[name] = options.pop(name)
    return ResidualLocator(TraceInputs(3, **seen), law, **options)


@pytest.mark.parametrize(
    "law", [BinDistribution(), MixtureDistribution()], ids=lambda law: type(law).__name__
)
def test_a_mirrored_event_is_found_at_the_mirrored_place(law):
    module = locator(law).eval()
    x = torch.randn(5, 3, 30)
    with torch.no_grad():
        here, there = module(x), module(x.flip(2))
    torch.testing.assert_close(law.masses(there), law.masses(here).flip(1), atol=1e-5, rtol=1e-4)
    mean, std = law.mean_and_std(here)
    mirrored_mean, mirrored_std = law.mean_and_std(there)
    torch.testing.assert_close(mirrored_mean, 29.0 - mean, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(mirrored_std, std, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("dilation", [1, 3])
def test_a_convolution_over_steps_is_torchs_with_the_channels_last(dilation):
    torch.manual_seed(0)
    layer, x = StepConvolution(4, 5, 3, dilation), torch.randn(2, 11, 4)
    weight = layer.taps.weight.unflatten(1, (3, 4)).transpose(1, 2)  # (n_out, n_in, n_taps)
    expected = torch.nn.functional.conv1d(
        x.transpose(1, 2), weight, layer.taps.bias, padding="same", dilation=dilation
    )
    torch.testing.assert_close(layer(x), expected.transpose(1, 2))


@pytest.mark.parametrize("step", [1, 2, 3, 4])
@pytest.mark.parametrize("n_times", [1, 2, 7, 30])
def test_there_are_outputs_for_each_sample_whatever_the_step(step, n_times):
    law = MixtureDistribution()
    module = locator(law, step=step)
    for reversible in (module.train(), module.eval()):
        output = reversible(torch.randn(5, 3, n_times))
        assert output.shape == (5, 6 if not module.training else 3, n_times)


@pytest.mark.parametrize("step", [1, 2])
def test_events_that_are_moved_by_a_step_are_found_a_step_further(step):
    module = locator(BinDistribution(), step=step, reversible=False).eval()
    x = torch.randn(5, 3, 120)
    with torch.no_grad():
        here, there = module(x[..., :-step]), module(x[..., step:])
    inside = slice(40, -40)  # where no end is seen
    torch.testing.assert_close(here[..., step:][..., inside], there[..., :-step][..., inside])


def test_levels_of_traces_do_not_matter():
    x = torch.randn(200, 3, 30)
    levels = 50.0 * torch.randn(200, 3, 1)
    plain, moved = (locator(BinDistribution()).eval() for _ in range(2))
    plain.inputs.fit_statistics(x)
    moved.inputs.fit_statistics(x + levels)
    torch.testing.assert_close(moved.inputs.scale, plain.inputs.scale, atol=1e-4, rtol=0)
    torch.testing.assert_close(plain(x + levels), plain(x), atol=1e-4, rtol=0)
    seen = locator(BinDistribution(), remove_baseline=False).eval()
    seen.inputs.fit_statistics(x)
    assert (seen(x + levels) - seen(x)).abs().max() > 0.1


def test_a_calibrated_network_gives_calibrated_outputs():
    law = MixtureDistribution()
    module, x = locator(law).eval(), torch.randn(5, 3, 30)
    factors, added = torch.tensor([3.0, 0.5, 1.0]), torch.tensor([0.2, 0.0, -0.7])
    with torch.no_grad():
        expected = law.calibrated(module(x), factors, added)
        module.calibrate(factors, added)
        torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("pooled", [True, False])
def test_units_do_not_matter(pooled):
    x = torch.randn(200, 3, 30) * torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1)
    plain, scaled = (locator(BinDistribution(), pooled=pooled).eval() for _ in range(2))
    plain.inputs.fit_statistics(x)
    scaled.inputs.fit_statistics(1e3 * x - 5e3)
    torch.testing.assert_close(scaled(1e3 * x - 5e3), plain(x), atol=1e-3, rtol=1e-3)
    standard = (x - x.mean(dim=2, keepdim=True)) / plain.inputs.scale
    if not pooled:
        torch.testing.assert_close(standard.std(dim=(0, 2)), torch.ones(3), atol=1e-3, rtol=0)


@pytest.mark.parametrize("pooled", [True, False])
def test_traces_that_keep_their_levels_are_standardised_with_them(pooled):
    x = torch.randn(200, 3, 30) + 5.0 * torch.randn(200, 3, 1) + 40.0
    module = locator(BinDistribution(), pooled=pooled, remove_baseline=False)
    module.inputs.fit_statistics(x)
    standard = (x - module.inputs.centre) / module.inputs.scale
    assert standard.mean().abs() < 1e-4
    assert abs(standard.std() - 1.0) < 0.02


def test_pulses_that_go_down_are_turned_over():
    x = torch.randn(200, 3, 30)
    up, down = locator(BinDistribution()).eval(), locator(BinDistribution(), negative=True).eval()
    up.inputs.fit_statistics(x)
    down.inputs.fit_statistics(-x)
    torch.testing.assert_close(down(-x), up(x))


def test_samples_that_are_missing_have_no_probability_and_the_one_before_stands_for_them():
    law = BinDistribution()
    module = locator(law, missing=True).eval()
    x = torch.randn(5, 3, 30)
    x[0, :, 20:] = float("nan")
    x[1, 0] = float("nan")  # a dead trace
    x[2, :, :4] = float("nan")
    x[3, 1, 7:9] = float("nan")
    module.inputs.fit_statistics(x)
    inputs = module.inputs(x)
    assert inputs.shape == (5, 3, 2, 30)
    assert torch.equal(inputs[:, :, 1] > 0.5, x.isnan())
    values = inputs[:, :, 0]
    assert (values[0, :, 20:] == values[0, :, 19:20]).all()
    assert (values[2, :, :4] == values[2, :, 4:5]).all()
    assert (values[3, 1, 7:9] == values[3, 1, 6]).all()
    assert torch.isfinite(values).all()
    p = law.masses(module(x))
    assert (p[0, 20:] == 0.0).all()
    assert (p[2, :4] == 0.0).all()
    assert (p[[1, 3, 4]] > 0.0).all()
    torch.testing.assert_close(p.sum(dim=1), torch.ones(5))


@pytest.mark.parametrize("negative", [False, True])
def test_samples_that_are_cut_off_are_told(negative):
    sign = -1.0 if negative else 1.0
    x = sign * torch.tensor([1.0, 3.0, 3.0, 2.0]).repeat(2, 3, 1)
    inputs = locator(
        BinDistribution(), negative=negative, limit=torch.full((1, 1), 3.0 * sign)
    ).inputs
    assert inputs(x)[:, :, 1].tolist() == [[[0.0, 1.0, 1.0, 0.0]] * 3] * 2


def test_small_pulses_on_a_pedestal_are_standardised():
    x = 1.0 + 5e-4 * torch.randn(200, 3, 30)
    module = locator(BinDistribution())
    module.inputs.fit_statistics(x)
    np.testing.assert_allclose(module.inputs.scale, 5e-4, rtol=0.05)


def test_constant_traces_keep_their_units():
    module = locator(BinDistribution(), pooled=False)
    module.inputs.fit_statistics(torch.full((10, 3, 5), 7.0))
    assert module.inputs.scale.flatten().tolist() == [1.0, 1.0, 1.0]


def test_the_reference_network_is_the_published_one():
    module = ReferenceLocator(3)
    assert sum(p.numel() for p in module.parameters()) == 2 * 3 + 2 + 2 * 3 * 7 + 1
    x = torch.randn(4, 3, 100)
    output = module(x)
    assert output.shape == (4, 1, 100)
    # inside, where no padding is seen, it is the two valid convolutions with tanh in between
    first = torch.tanh(torch.nn.functional.conv2d(x[:, None], *module.filters.parameters()))
    inner = torch.nn.functional.conv2d(first, *module.combination.parameters())
    torch.testing.assert_close(output[:, :, 4:-4], inner.squeeze(2))
    # and the three bins at each end, which have no output there, are as good as impossible
    assert BinDistribution().masses(output)[:, [0, 1, 2, -3, -2, -1]].max() < 1e-5


@pytest.mark.parametrize("reversible", [False, True])
def test_long_events_go_through_in_tiles_with_the_same_result(reversible, monkeypatch):
    law = MixtureDistribution()
    module = locator(law, reversible=reversible).eval()
    x = torch.randn(2, 3, 1003)
    with torch.no_grad():
        whole = module(x)
        for size in (100, 331, 1002):
            monkeypatch.setattr("skae.modules.pulses.locators._TILE", size)
            torch.testing.assert_close(module(x), whole)


def test_outputs_depend_on_samples_within_reach_and_on_no_others():
    module = locator(BinDistribution(), reversible=False).eval()
    x = torch.randn(1, 3, 200)
    x.requires_grad_()
    output = module(x)
    for at in (100, 101):
        slope = torch.autograd.grad(output[0, 0, at], x, retain_graph=True)[0][0].abs().sum(dim=0)
        seen = slope.nonzero().flatten()
        start = at - at % 2  # of its step
        assert start - module.reach <= seen.min()
        assert seen.max() <= start + 1 + module.reach
        assert seen.max() - seen.min() > module.reach
