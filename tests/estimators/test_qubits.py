"""Boltzmann machines whose units are qubits of a graph, and samplers that are handed its problems."""

import pickle
from functools import cache
from itertools import pairwise

import dimod
import dwave.graphs
import networkx as nx
import numpy as np
import pytest
import torch
from dwave.samplers import SimulatedAnnealingSampler
from sklearn.base import clone

import skae
from skae import CaloShowerVAE, LogRatioTransformer
from skae.datasets import CaloGeometry, make_showers
from skae.estimators._qubits import identity_of, place_units

GEOMETRY = CaloGeometry([(0, 8, 60)] * 4, [4] * 4, 0.1, np.arange(5) * 30.0)
X = LogRatioTransformer("log1p", reference=0).fit_transform(
    make_showers(400, geometry=GEOMETRY, random_state=0)
)
N_CODE = 72


def bits(topology, **options):
    options = {"n_components": 30, "max_epochs": 2, "gibbs_steps": 10, **options}
    return CaloShowerVAE(
        prior="rbm", rbm_topology=topology, geometry=GEOMETRY, batch_size=128, hidden_size=16,
        random_state=0, **options,
    )  # fmt: skip


@cache
def full(family):
    return {"pegasus": dwave.graphs.pegasus_graph, "zephyr": dwave.graphs.zephyr_graph}[family](
        {"pegasus": 16, "zephyr": 12}[family]
    )


@cache
def working(family):
    """Return the graph of a device that lacks 20 qubits, some of the middle ones, and a few couplings."""
    graph = full(family).copy()
    _, qubits = place_units(family, [N_CODE, 10, 10, 10])
    graph.remove_nodes_from([*qubits[::8], *list(graph)[:7]])
    graph.remove_edges_from(list(graph.edges)[:5])
    return graph


def graphs():
    rng = np.random.default_rng(0)
    four = nx.Graph()  # strings for labels, four colours that nobody tells
    names = [f"q{i}" for i in range(600)]
    for i, j in rng.integers(600, size=(8000, 2)):
        if i % 4 != j % 4 and abs(i - j) < 60:
            four.add_edge(names[i], names[j])
    return {
        "pegasus": "pegasus",
        "zephyr": "zephyr",
        "working pegasus": working("pegasus"),
        "working zephyr": working("zephyr"),
        "small pegasus, coordinates": dwave.graphs.pegasus_graph(6, coordinates=True),
        "small pegasus, nice coordinates": dwave.graphs.pegasus_graph(6, nice_coordinates=True),
        "small zephyr, coordinates": dwave.graphs.zephyr_graph(4, coordinates=True),
        "of no family": four,
        "a chain": nx.path_graph(500),  # two colours do for four partitions
    }


@pytest.mark.parametrize("name", graphs())
def test_units_are_nodes_and_couplings_edges(name):
    topology = graphs()[name]
    graph = full(topology) if isinstance(topology, str) else topology
    mask, qubits = place_units(topology, [N_CODE, 10, 11, 9])
    assert len({*qubits}) == len(qubits) == 102
    assert {*qubits} <= {*graph.nodes}
    assert torch.equal(mask, mask.T)
    for i in range(0, 102, 7):
        for j in range(102):
            assert bool(mask[i, j]) == graph.has_edge(qubits[i], qubits[j])
    ends = np.cumsum([0, N_CODE, 10, 11, 9])
    for start, end in pairwise(ends):  # one colour each: nothing to lose
        assert not mask[start:end, start:end].any()
    assert mask[N_CODE:].any(dim=1).all()
    if "eph" in name or "peg" in name:
        assert mask[:, N_CODE:].sum(dim=0).float().mean() > (6.5 if "working" in name else 9.5)


def test_machines_of_the_published_size_fit_into_full_graphs():
    for family, least in (("pegasus", 13.0), ("zephyr", 17.5)):  # of 15 and 20 couplings a qubit
        for topology in (family, working(family)):
            mask, _ = place_units(topology, [302] * 4)
            assert mask.sum(dim=0)[302:].float().mean() > least


def test_the_first_units_of_the_energy_have_the_most_couplings():
    mask, _ = place_units("zephyr", [N_CODE, 10, 10, 10])
    couplings = mask[:N_CODE, N_CODE:].sum(dim=1)
    assert (couplings.diff() <= 0).all()
    assert couplings[0] > 5


@pytest.mark.parametrize("family", ["pegasus", "zephyr"])
@pytest.mark.parametrize("lacks", [False, True], ids=["full", "20 qubits removed"])
def test_an_annealers_graph_takes_the_problems(family, lacks):
    graph = working(family) if lacks else full(family)
    model = bits(graph if lacks else family).fit(X)
    sampler = dimod.StructureComposite(
        SimulatedAnnealingSampler(), list(graph.nodes), list(graph.edges)
    )
    model.set_params(
        sampler=sampler,
        sampler_arguments={"beta_range": (0.1, 1.0), "num_sweeps": 10},
        sampler_beta=1.0,
    )
    drawn = model.sample(X[:3, 0], random_state=0)
    assert drawn.shape == (3, X.shape[1])
    np.testing.assert_array_equal(drawn, model.sample(X[:3, 0], random_state=0))
    machine = model.module_.latents.machine
    mask, qubits = place_units(model.rbm_topology, machine.sizes)
    assert model.qubits_ == qubits
    couplings = machine.couplings.detach()
    assert (couplings[~mask] == 0.0).all()
    assert (couplings[N_CODE:, N_CODE:] != 0.0)[mask[N_CODE:, N_CODE:]].all()
    value, error = model.log_partition(X[:2, 0])
    assert np.isfinite(value).all()
    assert (error < 1.0).all()


def test_units_of_the_complete_graph_are_numbered():
    model = bits("complete").fit(X)
    assert model.qubits_ == list(range(N_CODE + 30))
    couplings = model.module_.latents.machine.couplings.detach()
    assert (couplings[:N_CODE, N_CODE:] != 0.0).any(dim=0).all()


class Shuffled(dimod.Sampler):
    """Return variables in another order than the problem has them, as annealers do."""

    properties, parameters = {}, {}

    def sample(self, bqm, num_reads=1, **kwargs):
        rng = np.random.default_rng(0)
        order = rng.permutation(list(bqm.variables)).tolist()
        low = [bqm.get_linear(v) < 0.0 for v in order]  # the state of each unit if alone
        return dimod.SampleSet.from_samples_bqm(
            (np.tile(np.array(low, dtype=np.int8), (num_reads, 1)), order), bqm
        )


def test_bits_are_read_by_the_names_of_qubits():
    model = bits(working("pegasus"), sampler=Shuffled(), sampler_beta=1.0).fit(X)
    drawn = model._draw_bits(X[:1, 0], 0)[0]
    latents = model.module_.latents
    code = latents.code(torch.from_numpy(X[:1, 0]).float())[0]
    machine = latents.machine
    field = machine.bias[N_CODE:] + code @ machine.couplings[:N_CODE, N_CODE:]
    np.testing.assert_array_equal(drawn, (field > 0.0).numpy())


def test_a_graph_is_a_parameter_like_others(tmp_path):
    graph = working("pegasus")
    model = bits(graph, checkpoint=tmp_path).fit(X).set_params(checkpoint=None)
    again = clone(model).fit(X)  # the graph is a copy
    assert again.qubits_ == model.qubits_
    loaded = pickle.loads(pickle.dumps(model))
    loaded.set_params(rbm_topology=graph.copy()).partial_fit(X)  # the same couplings
    other = graph.copy()
    other.remove_node(model.qubits_[5])
    with pytest.raises(ValueError, match="rbm_topology"):
        model.set_params(rbm_topology=other).partial_fit(X)
    assert identity_of(graph) == identity_of(graph.copy()) != identity_of(other)
    with pytest.raises(TypeError, match="rbm_topology='pegasus'"):
        skae.save(model, tmp_path / "model.skae")
    model.set_params(rbm_topology="pegasus")
    skae.save(model, tmp_path / "model.skae")
    loaded = skae.load(tmp_path / "model.skae")
    assert loaded.qubits_ == model.qubits_
    energy = X[:4, 0]
    np.testing.assert_array_equal(
        loaded.sample(energy, random_state=0), model.sample(energy, random_state=0)
    )


@pytest.mark.parametrize(
    ("topology", "message"),
    [
        ("chimera", "must be one of 'complete', 'pegasus', 'zephyr', or a graph"),
        (nx.Graph, "must be one of"),
        (nx.DiGraph([(0, 1)]), "without directions"),
        (nx.empty_graph(500), "without edges"),
        (dwave.graphs.zephyr_graph(2), "no room for partitions of"),
        (nx.path_graph(100), "no room for partitions of"),
    ],
)
def test_what_has_no_room_or_is_no_graph_is_refused(topology, message):
    with pytest.raises(ValueError, match=message):
        bits(topology).fit(X)
