"""Layers that are divided in their own ways, in harmonics of the angle."""

import numpy as np
import torch

from skae.datasets import CaloGeometry
from skae.modules.showers.blocks import LayerBlock, over_voxels, sums_over_layers
from skae.modules.showers.voxel_networks import VoxelDecoder, VoxelEncoder

UNEVEN = CaloGeometry.named("dataset_1_pions")


def test_sums_are_those_of_the_geometry_s_layers(rng):
    x = torch.from_numpy(rng.exponential(size=(3, UNEVEN.n_voxels)))
    expected = np.stack([x.numpy()[:, layer].sum(axis=1) for layer in UNEVEN.layers], axis=1)
    found = sums_over_layers(x, UNEVEN.blocks)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    each = over_voxels(found[:, None], UNEVEN.blocks)[:, 0].numpy()
    for layer, where in enumerate(UNEVEN.layers):
        np.testing.assert_array_equal(each[:, where], found.numpy()[:, [layer]].repeat(
            where.stop - where.start, axis=1
        ))  # fmt: skip


def test_waves_are_orthogonal_and_as_many_as_angles_can_tell():
    for n_angles, n_waves in ((1, 1), (2, 1), (3, 3), (4, 3), (10, 7), (16, 7), (50, 7)):
        waves = LayerBlock((2, n_angles, 3)).waves
        products = waves @ waves.T
        expected = torch.diag(torch.tensor([n_angles] + [n_angles / 2] * (n_waves - 1)))
        torch.testing.assert_close(products, expected.float(), atol=1e-5, rtol=0)


def test_a_decoder_starts_at_the_same_rings_for_all_showers():
    blocks = [(2, 4, 3), (1, 1, 5)]
    decoder = VoxelDecoder(2, blocks, 6, 4, 8, attention=True)
    outputs = torch.randn(3, 29)
    decoder.start_at(outputs, torch.full((29,), 100.0))
    for block in decoder.blocks:
        block.weight.data.zero_()
    drawn = decoder(torch.randn(5, 2), torch.randn(5, 3, 6), torch.randn(5, 4))
    around = outputs[:, :24].unflatten(1, (2, 4, 3)).mean(dim=2, keepdim=True)
    around = around.expand(-1, -1, 4, -1).flatten(1)
    torch.testing.assert_close(drawn, torch.cat([around, outputs[:, 24:]], 1).expand(5, -1, -1))


def test_rings_are_changed_the_less_the_more_seldom_they_are_hit():
    decoder, start = VoxelDecoder(2, [(2, 4, 3)], 6, 4, 8, attention=False), torch.zeros(3, 24)
    hits = torch.tensor([1e8, 25_000.0, 250.0]).repeat(8)  # four voxels a ring
    shower = torch.randn(500, 2), torch.randn(500, 2, 6), torch.randn(500, 4)
    decoder.start_at(start, torch.full((24,), 1e12))
    free = decoder(*shower).detach()
    decoder.start_at(start, hits)
    part = (decoder(*shower).detach() / free).unflatten(2, (2, 4, 3))
    expected = torch.tensor([1.0, 0.5, 0.0577]).expand_as(part)
    torch.testing.assert_close(part, expected, atol=1e-3, rtol=1e-2)


def test_each_voxel_is_seen_and_written_by_its_own_layer(rng):
    """A voxel changes what is known of its layer alone, and of those that look at it."""
    torch.manual_seed(0)
    blocks = UNEVEN.blocks
    encoder = VoxelEncoder(blocks, 6, 4, 8)
    voxels = torch.zeros(1, 2, UNEVEN.n_voxels)
    known = torch.cat([block(part) for block, part in zip(
        encoder.blocks, voxels.split(encoder.sizes, dim=2), strict=True
    )], dim=1)  # fmt: skip
    for layer, where in enumerate(UNEVEN.layers):
        lit = voxels.clone()
        lit[0, 0, where.start] = 1.0
        parts = zip(encoder.blocks, lit.split(encoder.sizes, dim=2), strict=True)
        changed = torch.cat([block(part) for block, part in parts], dim=1) != known
        assert changed.any(dim=2)[0].nonzero().ravel().tolist() == [layer]
    assert encoder(voxels, torch.zeros(1, 7, 6), torch.zeros(1, 4)).shape == (1, 8)
