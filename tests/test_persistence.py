"""Saving and loading: the same in a new process, nothing run, and nothing lost."""

import io
import itertools
import json
import os
import pickle

import joblib
import numpy as np
import pytest
import skops.io
import torch
from fits import global_states, small, stop, weights_of
from fitted import FITTED, answers, dictionaries, members_of, rewrite
from scripts import printed_by
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.cluster import Birch
from sklearn.ensemble import RandomTreesEmbedding
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.linear_model import LogisticRegression, PoissonRegressor, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

import skae
from skae.exceptions import OptimizerStateWarning, VersionWarning
from skae.physics.calorimeter import CaloGeometry
from skae.training.net_file import by_name, module_classes

# What networks of two epochs decode is out of range.
pytestmark = pytest.mark.filterwarnings("ignore::skae.exceptions.ClippingWarning")

# Loads what each file of a folder holds, and writes all that it says of the rows beside it.
IN_A_NEW_PROCESS = """
import sys, warnings
from pathlib import Path
import numpy as np
import torch
torch.set_num_threads(1)
import skae
from fitted import answers
warnings.simplefilter("ignore", skae.exceptions.ClippingWarning)
for path in sorted(Path(sys.argv[1]).glob("*.skops")):
    model = skae.load(path)
    X = np.load(path.with_suffix(".npy"))
    np.savez(path.with_suffix(".npz"), **answers(model, X))
"""


@pytest.fixture(scope="module")
def fitted():
    """Each model with rows for it; not to be changed."""
    return {name: make() for name, make in FITTED.items()}


@pytest.fixture
def jets_model(fitted):
    return fitted["jets"]


@pytest.fixture
def saved(jets_model, tmp_path):
    path = tmp_path / "jets.skops"
    skae.save(jets_model[0], path)
    return path


def reloaded(model, folder, **options):
    """Save a model, and return what is loaded."""
    skae.save(model, folder / "model", **options)
    return skae.load(folder / "model")


# -- the round trip ----------------------------------------------------------------------------


def test_every_estimator_says_the_same_to_the_bit_in_a_new_process(fitted, tmp_path):
    for name, (model, X) in fitted.items():
        skae.save(model, tmp_path / f"{name}.skops")
        np.save(tmp_path / f"{name}.npy", X)
    printed_by(IN_A_NEW_PROCESS, tmp_path, PYTHONWARNINGS="error")
    for name, (model, X) in fitted.items():
        with np.load(tmp_path / f"{name}.npz") as there:
            here = answers(model, X)
            assert set(there) == set(here)
            assert here, name
            for method in here:
                assert there[method].dtype == here[method].dtype
                np.testing.assert_array_equal(there[method], here[method], f"{name}.{method}")


@pytest.mark.parametrize("name", FITTED)
def test_parameters_and_fitted_attributes_come_back(name, fitted, tmp_path):
    model, _ = fitted[name]
    copy = reloaded(model, tmp_path)
    assert type(copy) is type(model)
    assert repr(copy) == repr(model)
    assert set(vars(copy)) == set(vars(model))
    for ours, theirs in zip(_networks(model), _networks(copy), strict=True):
        assert ours.loss_curve_ == theirs.loss_curve_
        assert repr(ours.module_) == repr(theirs.module_)
        assert list(ours.module_.state_dict()) == list(theirs.module_.state_dict())
        assert [p.requires_grad for p in ours.module_.parameters()] == [
            p.requires_grad for p in theirs.module_.parameters()
        ]
        assert torch.equal(weights_of(ours), weights_of(theirs))


def _networks(model):
    steps = [step for _, step in getattr(model, "steps", [("", model)])]
    return [step for step in steps if hasattr(step, "net_")]


@pytest.mark.parametrize("name", ["jets-residual", "jets-conv", "sequences-vector", "showers-bits"])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_training_goes_on_as_it_would_have_with_the_optimizers_state(name, method, tmp_path):
    model, X = FITTED[name]()
    last = _networks(model)[0].set_params(warm_start=True)
    Z = model[:-1].transform(X) if hasattr(model, "steps") else X
    y = Z[:, :3] if name == "sequences-vector" else None
    copy = reloaded(last, tmp_path, optimizer_state=True)
    for one in (last, copy):
        getattr(one, method)(Z, y)
    assert last.n_iter_ == copy.n_iter_
    assert len(last.loss_curve_) > 2
    assert last.loss_curve_ == copy.loss_curve_
    assert torch.equal(weights_of(last), weights_of(copy))


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_without_the_optimizers_state_it_starts_afresh_and_warns_once(jets, method, tmp_path):
    model = small(max_epochs=1, warm_start=True).fit(jets)
    skae.save(model, tmp_path / "full", optimizer_state=True)
    skae.save(model, tmp_path / "model")
    assert (tmp_path / "model").stat().st_size < (tmp_path / "full").stat().st_size
    copy = skae.load(tmp_path / "model")
    assert not copy.net_.optimizer_.state
    copy = reloaded(copy, tmp_path)
    with pytest.warns(OptimizerStateWarning, match="optimizer_state=True") as record:
        getattr(copy, method)(jets)
    ours = [w.filename for w in record if w.category is OptimizerStateWarning]
    assert ours == [__file__]
    assert len(copy.history_) == 2
    getattr(copy, method)(jets)  # the state is there now
    getattr(model, method)(jets)
    assert not torch.equal(weights_of(model), weights_of(copy))


def test_an_optimizer_without_state_loses_none(jets, tmp_path):
    model = small(max_epochs=1, optimizer="sgd", lr=1e-6)
    copy = reloaded(model.fit(jets), tmp_path)
    for one in (model, copy):
        one.partial_fit(jets)
    assert torch.equal(weights_of(model), weights_of(copy))


def test_a_saved_model_is_saved_again_in_the_same_bytes(saved, tmp_path):
    skae.save(skae.load(saved), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()


@pytest.mark.parametrize("name", FITTED)
def test_pickle_and_skops_say_the_same(name, fitted, tmp_path):
    model, X = fitted[name]
    expected = answers(model, X)
    skae.save(model, tmp_path / "model")
    for copy in (
        pickle.loads(pickle.dumps(model)),
        skops.io.loads(skops.io.dumps(model), trusted=skae.TRUSTED_TYPES),
        skops.io.load(tmp_path / "model", trusted=skae.TRUSTED_TYPES),
    ):
        for method, answer in answers(copy, X).items():
            np.testing.assert_array_equal(answer, expected[method], method)


class OwnAdam(torch.optim.Adam):
    """An optimizer that is not torch's."""


def test_a_net_with_something_of_the_users_own_is_pickled_as_skorchs_are(jets):
    model = small(max_epochs=1, optimizer=OwnAdam).fit(jets)
    copy = pickle.loads(pickle.dumps(model))
    assert type(copy.net_.optimizer_) is OwnAdam
    np.testing.assert_array_equal(copy.transform(jets), model.transform(jets))


def test_a_pickle_names_no_class_of_torchs(jets_model):
    rooms = set()

    class Recording(pickle.Unpickler):
        def find_class(self, module, name):
            rooms.add(module.partition(".")[0])
            return super().find_class(module, name)

    Recording(io.BytesIO(pickle.dumps(jets_model[0]))).load()
    assert "skae" in rooms
    assert not {"torch", "skorch"} & rooms


def test_an_unfitted_estimator_comes_back_unfitted(tmp_path):
    model = skae.JetAutoencoder(4, random_state=np.random.RandomState(3))
    copy = reloaded(model, tmp_path)
    assert not hasattr(copy, "net_")
    assert copy.random_state.randint(10**9) == model.random_state.randint(10**9)


def test_the_folder_of_checkpoints_is_not_saved(tmp_path):
    """It is one of this machine, and training writes and deletes files there."""
    folder = tmp_path / "checkpoints"
    model = make_pipeline(small(max_epochs=1, checkpoint=folder))
    copy = reloaded(model, tmp_path)
    assert copy[0].checkpoint is None
    assert model[0].checkpoint == folder


def test_names_of_columns_output_and_metadata_requests_come_back(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(np.random.default_rng(0).normal(size=(30, 4)), columns=list("abcd"))
    model = small(max_epochs=1)
    model.fit(frame).set_output(transform="pandas")
    with config_context(enable_metadata_routing=True):
        model.set_fit_request(sample_weight="w")
    copy = reloaded(model, tmp_path)
    pandas.testing.assert_frame_equal(copy.transform(frame), model.transform(frame))
    assert list(copy.feature_names_in_) == list("abcd")
    with config_context(enable_metadata_routing=True):
        assert copy.get_metadata_routing().fit.requests == {"sample_weight": "w"}


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(24.0).reshape(2, 3, 4),
        np.arange(20)[::2],
        np.array(3.5),
        np.zeros((0, 3), dtype=np.float32),
        np.array([True, False]),
        np.array(["a", None, 3.0], dtype=object),
        np.array([["ab", "c"]]),
        np.float32(0.1),
        np.int16(-3),
        np.array([1j]),
        np.array(["2020-01-01"], dtype="M8[D]"),
        np.nan,
        10**30,
    ],
    ids=itertools.count(),
)
def test_arrays_come_back_with_dtype_shape_and_order(array, tmp_path):
    copy = reloaded(skae.JetAutoencoder(angles=array), tmp_path).angles
    assert type(copy) is type(array)
    np.testing.assert_array_equal(copy, array)
    if isinstance(array, np.ndarray):
        assert copy.dtype == array.dtype
        assert not array.size or copy.strides == array.copy(order="K").strides


def test_a_geometry_comes_back_without_what_it_caches(tmp_path):
    geometry = CaloGeometry.named("dataset_2")
    radii, layers = geometry.r, geometry.layers
    copy = reloaded(skae.CaloShowerVAE(geometry=geometry), tmp_path).geometry
    assert geometry.r is radii
    assert copy == geometry
    np.testing.assert_array_equal(copy.r, radii)
    assert copy.layers == layers


@pytest.mark.parametrize(
    "model", [SVC(), SGDClassifier(), PoissonRegressor(), KNeighborsClassifier()]
)
def test_what_classifies_latents_comes_back(model, jets, tmp_path):
    y = (jets[:, 0] > np.median(jets[:, 0])).astype(int)
    autoencoder = skae.JetAutoencoder(2, hidden_layer_sizes=(4,), max_epochs=1, random_state=0)
    model = make_pipeline(autoencoder, StandardScaler(), model).fit(jets, y)
    copy = reloaded(model, tmp_path)
    np.testing.assert_array_equal(copy.predict(jets), model.predict(jets))


def test_what_is_shared_is_shared_again(tmp_path):
    scaler = StandardScaler()
    copy = reloaded(make_pipeline(scaler, scaler), tmp_path)
    assert copy[0] is copy[1]


def test_loading_touches_no_global_random_state(saved):
    before = global_states()
    skae.load(saved)
    assert global_states() == before


def test_every_module_of_skae_can_be_named():
    names = set(module_classes())
    modules = {
        cls.__name__
        for cls in _subclasses(torch.nn.Module)
        if cls.__module__.startswith("skae.modules.")
    }
    assert len(modules) > 40
    assert {f"skae.{name}" for name in modules} <= names


def test_two_classes_of_one_name_are_refused():
    other = type("Autoencoder", (torch.nn.Module,), {"__module__": "skae.modules.other"})
    with pytest.raises(ValueError, match=r"two classes have the name skae\.Autoencoder"):
        by_name((*module_classes().values(), other))


def _subclasses(cls):
    return {cls}.union(*(_subclasses(c) for c in cls.__subclasses__()))


# -- devices and versions ----------------------------------------------------------------------


def test_a_device_that_is_not_there_is_refused_before_the_file_is_read(tmp_path):
    with pytest.raises(ValueError, match="device='cuda:77'"):
        skae.load(tmp_path / "missing", device="cuda:77")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine with a GPU loads it there")
def test_what_was_made_for_a_gpu_loads_where_there_is_none(fitted, tmp_path):
    model, X = FITTED["jets"]()
    expected = model.transform(X)
    model[-1].set_params(device="cuda")
    copy = reloaded(model, tmp_path)
    assert copy[-1].device_.type == "cpu"
    assert copy[-1].device == "cuda"
    np.testing.assert_array_equal(copy.transform(X), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", FITTED)
def test_another_device_says_the_same(name, fitted, tmp_path):
    model, X = fitted[name]
    skae.save(model, tmp_path / "model")
    there, here = (skae.load(tmp_path / "model", device=device) for device in ("cuda", "cpu"))
    for method, expected in answers(here, X).items():
        if method != "sample":  # other draws
            np.testing.assert_allclose(answers(there, X)[method], expected, rtol=1e-5, atol=1e-5)


def test_transformers_of_another_scikit_learn_are_warned_of(saved):
    _say(saved, "_sklearn_version", "1.8.0")
    with pytest.warns(InconsistentVersionWarning, match="from version 1.8.0") as record:
        skae.load(saved)
    assert {w.message.estimator_name for w in record} == {"StandardScaler", "Pipeline"}
    with pytest.raises(InconsistentVersionWarning):  # an error of its own where warnings are errors
        skae.load(saved)


def _say(path, name, version):
    """Let each estimator in a file say that it was made by this version."""

    def change(schema, members):
        for value in dictionaries(schema):
            if name in value and "content" in value[name]:
                value[name] = {**value[name], "content": f'"{version}"', "__id__": next(numbers)}

    numbers = itertools.count(10**4)
    rewrite(path, change)


def test_estimators_of_another_skae_are_warned_of(saved):
    _say(saved, "_skae_version", "9.0")
    message = f"JetAutoencoder .* by skae 9.0, .* {skae.__version__}"
    with pytest.warns(VersionWarning, match=message) as record:
        skae.load(saved)
    assert [w.filename for w in record] == [__file__]
    with pytest.raises(VersionWarning):
        skae.load(saved)


@pytest.mark.parametrize("name", ["jets", "matched-filter", "every-transformer"])
def test_a_pickle_of_another_skae_is_warned_of(name, fitted, monkeypatch):
    model, _ = fitted[name]
    model = model[-1] if name == "jets" else model
    own = pickle.loads(pickle.dumps(model))
    assert set(vars(own)) == set(vars(model))
    monkeypatch.setattr("skae._pickling.__version__", "9.0")
    content = pickle.dumps(model)
    monkeypatch.undo()
    with pytest.warns(VersionWarning, match="by skae 9.0") as record:
        pickle.loads(content)
    assert {w.filename for w in record} == {__file__}


OF_ANOTHER_FORMAT = rf"skae 9\.0 in the format 99, and this is skae {skae.__version__}, "


def test_a_file_of_another_format_is_refused_with_both_versions(saved):
    rewrite(saved, lambda s, _: s["skae"].update(format=99, versions={"skae": "9.0"}))
    with pytest.raises(ValueError, match=OF_ANOTHER_FORMAT):
        skae.load(saved)


def test_a_pickle_of_another_format_is_refused_with_both_versions(jets_model, monkeypatch):
    monkeypatch.setattr("skae.training.packing.FORMAT", 99)
    monkeypatch.setattr("skae.training.packing.__version__", "9.0")
    content = pickle.dumps(jets_model[0][-1].net_)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=OF_ANOTHER_FORMAT):
        pickle.loads(content)


def test_versions_are_recorded(saved):
    versions = json.loads(members_of(saved)["schema.json"])["skae"]["versions"]
    assert versions["skae"] == skae.__version__
    assert versions["torch"] == torch.__version__
    assert {"python", "numpy", "scikit-learn", "skops", "skorch"} < set(versions)


# -- what cannot be saved ----------------------------------------------------------------------


def _lambda():
    return lambda x: x


class Foreign(BaseEstimator):
    def fit(self, X, y=None):
        return self


def _part_of_itself():
    model = make_pipeline(StandardScaler())
    model.steps.append(("self", model))
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (skae.JetAutoencoder(callbacks=[print]), r"\.callbacks.*set_params\(callbacks=None\)"),
        (skae.JetAutoencoder(noise=_lambda()), r"\.noise.*NoiseInjector"),
        (make_pipeline(StandardScaler(), memory="cache"), r"memory=None"),
        (make_pipeline(FunctionTransformer(_lambda())), r"Pipeline\.steps.*\.func is a function"),
        (make_pipeline(FunctionTransformer(len)), r"\.func is a builtin_function_or_method"),
        (make_pipeline(RandomTreesEmbedding(5).fit([[0.0], [1.0]])), r"\.tree_ is a Tree.*pickle"),
        (make_pipeline(FunctionTransformer(np.median)), r"\.func is a _ArrayFunctionDispatcher"),
        (LogisticRegression(class_weight={True: 2.0, False: 1.0}), r"\.class_weight has keys"),
        (LogisticRegression(class_weight={1: 2.0, "1": 1.0}), r"\.class_weight has keys"),
        (make_pipeline(Birch()), "Objects of type Birch are not supported yet.*pickle"),
        (Foreign(), "a Foreign, which skae cannot save"),
        (StandardScaler, "not the class StandardScaler; make one"),
        ("text", "not a str"),
        (skae.JetAutoencoder(optimizer=OwnAdam), "class OwnAdam.*torch's own optimizers can be saved"),
        (_part_of_itself(), "part of itself"),
    ],
    ids=itertools.count(),
)  # fmt: skip
def test_what_cannot_be_saved_says_why_and_leaves_the_file_alone(model, message, tmp_path):
    path = tmp_path / "model"
    path.write_bytes(b"before")
    with pytest.raises(TypeError, match=message):
        skae.save(model, path)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("xz", 3)])
def test_a_file_of_joblibs_is_answered_with_joblib(compress, tmp_path):
    joblib.dump(StandardScaler(), tmp_path / "model", compress=compress)
    with pytest.raises(ValueError, match=r"not written by skae\.save; joblib\.load reads"):
        skae.load(tmp_path / "model")


def test_archives_of_others_are_told_from_files_of_skaes(tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "torch")
    np.savez(tmp_path / "numpy.npz", a=np.zeros(2))
    for name in "torch", "numpy.npz":
        with pytest.raises(ValueError, match=r"it was not written by skae\.save"):
            skae.load(tmp_path / name)


def test_a_search_is_not_saved_but_its_best_estimator_is(jets, tmp_path):
    search = GridSearchCV(small(max_epochs=1), {"lr": [1e-3, 1e-2]}, cv=2).fit(jets)
    with pytest.raises(TypeError, match="save its best_estimator_"):
        skae.save(search, tmp_path / "model")
    skae.save(search.best_estimator_, tmp_path / "model")


def test_hooks_are_refused(fitted, tmp_path):
    model, _ = FITTED["jets"]()
    model[-1].module_.register_forward_hook(print)
    with pytest.raises(TypeError, match="a module with hooks"):
        skae.save(model, tmp_path / "model")


# -- the disk ----------------------------------------------------------------------------------


def test_a_full_disk_keeps_the_file_that_was_there(small_disk, jets_model):
    path = small_disk / "model"
    skae.save(jets_model[0], path)
    before = path.read_bytes()
    (small_disk / "filler").write_bytes(b"0" * (200 * 1024))
    with pytest.raises(OSError, match="No space left"):
        skae.save(skae.JetAutoencoder(angles=np.zeros(30_000)), path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in small_disk.iterdir()) == ["filler", "model"]


def test_an_interrupt_keeps_the_file_that_was_there(saved, jets_model, monkeypatch):
    before = saved.read_bytes()
    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        skae.save(skae.JetAutoencoder(), saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_missing_folder_and_a_folder_are_errors_of_the_system(jets_model, tmp_path):
    with pytest.raises(FileNotFoundError):
        skae.save(jets_model[0], tmp_path / "missing" / "model")
    with pytest.raises(OSError, match=str(tmp_path)):
        skae.load(tmp_path)
