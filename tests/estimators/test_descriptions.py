"""What a fit is told apart by: descriptions of values of every kind, and fingerprints of data."""

import copy
import json
import threading
from functools import partial

import numpy as np
import pytest
import torch
from fits import small
from scripts import printed_by

from skae import NoiseInjector
from skae.estimators._resume import describe, fingerprint
from skae.exceptions import CheckpointError


def make_scaled(factor):
    def scaled(batch, generator):
        return factor * batch

    return scaled


def run(source):
    """Return what a script defines."""
    names = {"__name__": "my_script"}
    exec(source, names)
    return names


class Scaled:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, batch, generator):
        return self.factor * batch

    def method(self, batch, generator):
        return self.factor * batch


@pytest.mark.parametrize(
    ("value", "same", "other"),
    [
        (make_scaled(2.0), make_scaled(2.0), make_scaled(3.0)),
        (Scaled(2.0), Scaled(2.0), Scaled(3.0)),
        (Scaled(2.0).method, Scaled(2.0).method, Scaled(3.0).method),
        (partial(torch.mul, other=2), partial(torch.mul, other=2), partial(torch.mul, other=3)),
        (NoiseInjector(sigma=0.1), NoiseInjector(sigma=np.float64(0.1)), NoiseInjector(sigma=0.2)),
        (np.arange(3), [0, 1, 2], (0, 1, 3)),
        (np.arange(100), np.arange(100), np.arange(1, 101)),
        (torch.device("cpu"), "cpu", torch.device("cuda")),
        ({1: "a"}, {1: "a"}, {1: "b"}),
        (lambda b, g: b + 1, lambda b, g: b + 1, lambda b, g: b + 2),
        (torch.optim.Adam, torch.optim.Adam, torch.optim.SGD),
    ],
)
def test_values_are_told_apart_by_what_they_are(value, same, other):
    assert describe(value) == describe(same) != describe(other)


def test_functions_are_told_apart_by_the_globals_they_use():
    def described(sigma, body="SIGMA * batch", method="SIGMA * batch"):
        names = run(f"""
SIGMA = {sigma}
def inner(batch):
    return {body}
def noise(batch, generator):
    return [inner(b) for b in batch]
class Noise:
    def __call__(self, batch, generator):
        return {method}
""")
        return [describe(value) for value in (names["noise"], names["Noise"](), names["Noise"])]

    plain = described(0.1)
    assert plain == described(0.1)
    assert plain[0] != described(0.2)[0]
    assert plain[0] != described(0.1, body="batch")[0]
    assert plain[1] != described(0.1, method="batch")[1]
    assert plain[2] != described(0.1, method="batch")[2]


def test_functions_that_call_many_others_are_described_once_each():
    lines = ["def f0(x): return x"]
    lines += [
        f"def f{k}(x): return f{k - 1}(f{k - 1}(x)) + f{max(0, k - 2)}(x)" for k in range(1, 60)
    ]
    last = run("\n".join(lines))["f59"]
    assert len(json.dumps(describe(last))) < 60_000  # each path apart would be 10**12 long


def test_values_that_hold_themselves_tensors_or_nothing_are_told():
    def recursive(n):
        return 1 if n == 0 else n * recursive(n - 1)

    def unbound():
        return later

    assert describe(recursive) == describe(recursive)
    assert describe(unbound) == describe(unbound)
    later = 1
    tensors = [Scaled(torch.ones(3)), Scaled(torch.ones(3)), Scaled(torch.zeros(3))]
    assert describe(tensors[0]) == describe(tensors[1]) != describe(tensors[2])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [torch.nn.Linear(2, 2) for _ in range(2)]
    assert describe(layers[0]) == describe(copy.deepcopy(layers[0])) != describe(layers[1])
    holder = Scaled(1.0)
    holder.other = holder
    assert describe(holder)["attributes"]["other"] == {"itself at": 0}
    shared, apart = (1, [2, 3]), [(1, [2, 3]) for _ in range(2)]
    assert describe([shared, shared]) == describe(apart), "pickling may part them"


SOURCE = """
import abc, dataclasses, functools, types
import torch
SIGMA = {sigma}
CONFIG = types.SimpleNamespace(sigma={sigma})
SCALED = functools.partial(torch.mul, other={sigma})
class Helper:
    sigma = {sigma}
    @staticmethod
    def scale(x):
        return {sigma} * x
    @property
    def size(self):
        return {sigma}
class Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.BatchNorm1d(3)
        self.sigma = {sigma}
    def forward(self, x, generator):
        return self.sigma * x
@dataclasses.dataclass
class Data:
    sigma: float = {sigma}
    def __call__(self, x, generator):
        return self.sigma * x
class Abstract(abc.ABC):
    @abc.abstractmethod
    def __call__(self, x, generator): ...
class Concrete(Abstract):
    def __call__(self, x, generator):
        return {sigma} * x
def by_constant(x, generator): return SIGMA * x
def by_attribute(x, generator): return CONFIG.sigma * x
def by_partial(x, generator): return SCALED(x)
def by_class(x, generator): return Helper.scale(x)
def by_inner(x, generator): return (lambda: SIGMA)() * x
def with_attribute(x, generator): return with_attribute.sigma * x
with_attribute.sigma = {sigma}
def unrelated(x, generator): return x.data
data = {sigma}
values = [by_constant, by_attribute, by_partial, by_class, by_inner, with_attribute, Helper, Helper(),
          Module(), Module().forward, Data(), Concrete(), torch.distributions.Normal(0.0, {sigma}),
          torch.tensor({sigma}), [lambda x, k=k: k * x for k in (1, {sigma})]]
"""


def test_everything_that_code_refers_to_tells():
    first, again, other = (run(SOURCE.format(sigma=sigma)) for sigma in (0.5, 0.5, 0.25))
    for value, same, changed in zip(first["values"], again["values"], other["values"], strict=True):
        assert json.dumps(describe(value)) == json.dumps(describe(same)), value
        assert describe(value) != describe(changed), value
    assert describe(first["unrelated"]) == describe(other["unrelated"]), "an attribute is no global"


def test_functions_from_one_factory_are_told_apart():
    f, g = make_scaled(1.0), make_scaled(2.0)
    assert describe([f, g, f]) != describe([f, g, g])


@pytest.mark.parametrize(
    "value", [np.complex128(1j), 1j, np.datetime64("2026-11-24"), {1, 2}, b"abc", range(3)], ids=str
)
def test_values_of_any_plain_kind_are_json(value):
    assert json.dumps(describe(value)) == json.dumps(describe(copy.deepcopy(value)))
    assert describe(value) != describe(None)


def test_a_chain_of_functions_that_is_too_long_is_named():
    lines = ["def f0(x): return x", *(f"def f{k}(x): return f{k - 1}(x)" for k in range(1, 2000))]
    last = run("\n".join(lines))["f1999"]
    with pytest.raises(TypeError, match="a function refers to too much"):
        describe(last)


def test_a_value_that_cannot_be_told_is_an_error_before_training(standard_jets, tmp_path):
    noise = Scaled(threading.Lock())
    model = small(noise=noise, checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match=r"noise=.* a lock cannot be identified .*pickle"):
        model.fit(standard_jets)
    assert not hasattr(model, "net_")


def test_descriptions_are_the_same_in_every_process():
    script = """
        import json, torch
        from skae import NoiseInjector
        from skae.estimators._resume import describe

        def noise(batch, generator):
            return batch if "kind" in {"kind", "of", "set"} else [b for b in batch]

        print(json.dumps(describe([noise, NoiseInjector({"poisson": 0.5, "gaussian": 0.5})])))
    """
    assert printed_by(script, PYTHONHASHSEED="1") == printed_by(script, PYTHONHASHSEED="2") != ""


def test_fingerprints_read_arrays_in_blocks(rng):
    X = rng.normal(size=(1000, 5000))  # 40 MB, three blocks
    assert fingerprint(X) == fingerprint(np.asfortranarray(X))
    changed = X.copy()
    changed[-1, -1] += 1e-9
    assert fingerprint(X) != fingerprint(changed)
    assert fingerprint(X[:0]) != fingerprint(X[:, :0].T)
    assert fingerprint(None) is None
