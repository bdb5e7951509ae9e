"""Voxels on a grid whose angles go around."""

import numpy as np
import torch

from skae.modules.showers.voxel_networks import VoxelGrid, circular


def test_angles_go_around_and_the_ends_of_others_do_not():
    x = torch.arange(2 * 5 * 3.0).reshape(1, 1, 2, 5, 3)
    expected = np.pad(x.numpy(), [(0, 0)] * 3 + [(2, 7), (0, 0)], mode="wrap")
    np.testing.assert_array_equal(circular(x, 2, 7).numpy(), expected)
    grid = VoxelGrid((45, 16, 9))
    x = torch.rand(2, 3, 45, 16, 9)
    padded = grid.padded(x)
    turned = grid.padded(x.roll(1, dims=-2))
    (layers, _), (angles, behind), (radii, _) = (
        (overlap, overlap + excess)
        for overlap, excess in zip(grid.overlap, grid.excess, strict=True)
    )
    inside = padded[:, :, layers : layers + 45, angles : angles + 16, radii : radii + 9]
    torch.testing.assert_close(inside, x, rtol=0, atol=0)
    assert angles + behind > 0
    torch.testing.assert_close(turned[..., 1:, :], padded[..., :-1, :], rtol=0, atol=0)
    assert not padded[:, :, :layers].any()
    assert not padded[..., radii + 9 :].any()
