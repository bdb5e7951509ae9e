"""What is random follows the seed, is fresh where it must be, and leaves global states alone."""

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from fits import global_states, small, weights_of
from skorch.callbacks import Callback

from skae import JetAutoencoder


def test_no_seed_takes_one_draw_from_numpys_global_state_and_nothing_else(standard_jets):
    np.random.seed(1)
    np.random.randint(np.iinfo(np.int32).max)
    after_one = global_states()
    np.random.seed(1)
    model = small(dropout=0.2, early_stopping=True, random_state=None)
    model.fit(standard_jets).set_params(early_stopping=False).partial_fit(standard_jets)
    model.transform(standard_jets)
    assert global_states() == after_one


def test_numpys_global_seed_works_as_in_scikit_learn(standard_jets):
    fits = []
    for _ in range(2):
        np.random.seed(5)
        fits += [small(random_state=None).fit(standard_jets) for _ in range(2)]
    first, second, again, _ = map(weights_of, fits)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_random_state_instance_is_advanced(standard_jets):
    state = np.random.RandomState(3)
    first, second = (small(random_state=state).fit(standard_jets) for _ in range(2))
    assert not torch.equal(weights_of(first), weights_of(second))


def test_modules_are_built_by_one_thread_at_a_time(standard_jets):
    """Each thread builds while the other tries to: without the lock, both would share one stream."""
    inside = []

    class Slow(JetAutoencoder):
        def _build_network(self, rows):
            inside.append("in")
            time.sleep(0.05)
            network = super()._build_network(rows)
            inside.append("out")
            return network

    models = [Slow(hidden_layer_sizes=(8,), max_epochs=1, random_state=s) for s in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda model: model.fit(standard_jets), models))
    assert inside == ["in", "out"] * 3


def test_noise_is_fresh_in_each_batch_and_the_target_clean(standard_jets):
    seen = []

    def add_noise(batch, generator):
        noise = torch.randn(batch.shape, generator=generator, device=batch.device)
        seen.append((batch.clone(), noise))
        return batch + 0.1 * noise

    targets = []

    class Spy(Callback):
        def on_batch_end(self, net, batch=None, training=False, **kwargs):
            targets.append(batch[1].clone())

    model = small(noise=add_noise, max_epochs=2, batch_size=100, callbacks=[Spy()])
    model.fit(standard_jets)
    assert len(seen) == len(targets) == 8
    for (clean, _), target in zip(seen, targets, strict=True):
        centred = clean - torch.from_numpy(model.center_)
        torch.testing.assert_close((centred / model.scale_).float(), target)
    assert all(not torch.equal(a, b) for (_, a), (_, b) in pairwise(seen))
