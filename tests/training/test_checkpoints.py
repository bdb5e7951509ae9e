"""Checkpoints by themselves: whole files, and errors that say what to do."""

import os
import stat
import subprocess
import threading

import numpy as np
import pytest
import torch
from fits import no_space

from skae import __version__
from skae.exceptions import CheckpointError, CheckpointWarning
from skae.training import checkpoints, packing
from skae.training.checkpoints import Checkpoint

IDENTITY = {"estimator": "Thing", "parameters": {"lr": 0.1, "sizes": [3, 2]}}


def write(folder, *epochs):
    with Checkpoint(folder, IDENTITY).open() as checkpoint:
        checkpoint.read()
        for epoch in epochs:
            checkpoint.write({"epoch": epoch, "weights": torch.full((1000,), float(epoch))})


def read(folder, identity=IDENTITY):
    with Checkpoint(folder, identity).open() as checkpoint:
        state = checkpoint.read()
    return None if state is None else state["epoch"]


def files(folder):
    return sorted(folder.glob("*.safetensors"))


# -- files -------------------------------------------------------------------------------------


def test_the_newest_state_is_read_and_one_more_is_kept(tmp_path):
    assert read(tmp_path / "new" / "folder") is None
    write(tmp_path, 1, 2, 3)
    assert read(tmp_path) == 3
    assert len(files(tmp_path)) == 2
    write(tmp_path, 4)
    assert read(tmp_path) == 4


def test_a_left_over_of_a_killed_process_is_removed(tmp_path):
    write(tmp_path, 1)
    (tmp_path / "00000002.tmp").write_bytes(b"half a che")
    assert read(tmp_path) == 1
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("damage", ["truncated", "emptied", "changed", "of something else"])
def test_a_damaged_file_is_refused_and_the_one_before_still_loads(damage, tmp_path):
    write(tmp_path, 1, 2)
    newest = files(tmp_path)[-1]
    content = newest.read_bytes()
    newest.write_bytes(
        {
            "truncated": content[:-100],
            "emptied": b"",
            "changed": content[:-1] + bytes([content[-1] ^ 1]),
            "of something else": b"\x10" + bytes(7) + b'{"a":"not ours"}',
        }[damage]
    )
    message = (
        rf"{newest.name} cannot be read: .* Delete that file, .* starts from 00000001.safetensors"
    )
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path)
    newest.unlink()
    assert read(tmp_path) == 1
    files(tmp_path)[0].write_bytes(b"")
    with pytest.raises(CheckpointError, match="Delete that file, and the same fit starts afresh"):
        read(tmp_path)


def test_a_foreign_checkpoint_is_refused_with_what_differs(tmp_path):
    write(tmp_path, 1)
    other = {"estimator": "Thing", "parameters": {"lr": 0.2, "sizes": [3, 2], "tol": 0.1}}
    message = (
        r"belongs to another fit: parameters.lr is 0.1 there and 0.2 here; "
        r"parameters.tol is None there and 0.1 here. Use another folder"
    )
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path, other)


def test_a_checkpoint_of_another_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "FORMAT", 2)
    monkeypatch.setattr(packing, "__version__", "9.0")
    write(tmp_path, 1)
    monkeypatch.undo()
    message = rf"skae 9\.0 in the format 2, and this is skae {__version__}, "
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path)


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CheckpointError, match="Choose a folder, not a file"):
            read(folder)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_write_that_fails_half_way_leaves_the_state_before(tmp_path, monkeypatch):
    write(tmp_path, 1)
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(CheckpointError, match=r"No space left on device\. Free some space and fit"):
        write(tmp_path, 2)
    monkeypatch.undo()
    assert read(tmp_path) == 1
    assert not list(tmp_path.glob("*.tmp"))


def test_where_a_folder_cannot_be_flushed_or_locked_files_are_written_all_the_same(
    tmp_path, monkeypatch
):
    flush = os.fsync

    def flush_files_only(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "Invalid argument")
        flush(descriptor)

    def no_locks(*args, **kwargs):
        raise NotImplementedError

    monkeypatch.setattr(os, "fsync", flush_files_only)
    monkeypatch.setattr(checkpoints.filelock.FileLock, "acquire", no_locks)
    with pytest.warns(CheckpointWarning, match="has no locks; make sure that no other process"):
        write(tmp_path, 1)
    with pytest.warns(CheckpointWarning, match="has no locks"):
        assert read(tmp_path) == 1


def test_two_fits_do_not_write_to_one_folder_at_once(tmp_path, monkeypatch):
    order, warned, told = [], [], threading.Event()

    def warn(message, category):
        warned.append((message, category))
        told.set()

    monkeypatch.setattr(checkpoints, "warn", warn)

    def second():
        write(tmp_path, 2)
        order.append("second")

    thread = threading.Thread(target=second)
    with Checkpoint(tmp_path, IDENTITY).open() as checkpoint:
        thread.start()
        assert told.wait(60), "the second fit does not notice the first"
        order.append("first")
        checkpoint.write({"epoch": 1})
    thread.join()
    assert order == ["first", "second"]
    assert read(tmp_path) == 2
    ((message, category),) = warned
    assert message.startswith("Another fit has the checkpoint")
    assert category is CheckpointWarning


def test_writing_takes_no_more_than_its_share_of_the_time(tmp_path, monkeypatch):
    now, began, seconds_a_write = [100.0], [], 4.0
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])

    def slowly(_):
        began.append(now[0])
        now[0] += seconds_a_write
        return b"content"

    monkeypatch.setattr(checkpoints, "to_bytes", slowly)
    with Checkpoint(tmp_path, IDENTITY).open() as checkpoint:
        while now[0] < 400.0:
            if checkpoint.is_due():
                checkpoint.write({})
            now[0] += 1.0
    assert 4 <= len(began) <= 5
    assert (np.diff(began) >= seconds_a_write / 0.05).all()


def test_what_cannot_be_saved_is_named(tmp_path):
    with (
        Checkpoint(tmp_path, IDENTITY).open() as checkpoint,
        pytest.raises(CheckpointError, match=r"state\.optimizer\.1 is a set; only tensors"),
    ):
        checkpoint.write({"optimizer": [0, {1}]})


@pytest.mark.usefixtures("no_pickles")
def test_no_pickle_is_read(tmp_path):
    write(tmp_path, 1)
    assert read(tmp_path) == 1
    assert b"pickle" not in files(tmp_path)[0].read_bytes()


# -- disks -------------------------------------------------------------------------------------


def test_on_a_full_disk_the_last_state_stays(small_disk):
    with Checkpoint(small_disk, IDENTITY).open() as checkpoint:
        checkpoint.write({"epoch": 1, "weights": torch.zeros(1000)})
        with pytest.raises(CheckpointError, match=r"No space left on device\. Free some space"):
            checkpoint.write({"epoch": 2, "weights": torch.zeros(100_000)})
    assert read(small_disk) == 1
    assert not list(small_disk.glob("*.tmp"))


def test_on_a_disk_mounted_read_only_nothing_starts(small_disk):
    write(small_disk, 1)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for folder in (small_disk, small_disk / "new"):
        with pytest.raises(CheckpointError, match="Choose a folder that is not mounted read-only"):
            read(folder)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert read(small_disk) == 1
