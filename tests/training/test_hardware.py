"""Which device is taken, and how much memory there is."""

import pytest
import torch

from skae.training import hardware
from skae.training.hardware import fits_in_memory, resolve_device

CPU = torch.device("cpu")


def test_auto_takes_the_best_device_there_is(monkeypatch):
    assert resolve_device("cpu") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto").type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto").type == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device("auto") == CPU


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="device='cuda' cannot be used here; use device='auto'"):
        resolve_device("cuda")


def test_a_stated_share_of_the_memory_decides(monkeypatch):
    monkeypatch.setattr(hardware, "main_memory", lambda: 4000)
    assert fits_in_memory(100, CPU)
    assert not fits_in_memory(101, CPU)
    monkeypatch.setattr(hardware, "main_memory", lambda: 10**12)
    assert fits_in_memory(2**27, CPU)
    assert not fits_in_memory(2**27 + 1, CPU)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (100, 1600))
    assert fits_in_memory(100, torch.device("cuda"))
    assert not fits_in_memory(101, torch.device("cuda"))


def test_memory_is_that_of_the_machine_or_its_container(monkeypatch, tmp_path):
    machine = hardware.main_memory()
    assert 2**28 < machine < 2**50
    own, root = tmp_path / "cgroup", tmp_path / "root"
    own.write_text("12:cpu,cpuacct:/x\n7:memory:/jobs/1\n0::/slurm/job/step\n")
    files = hardware._limit_files(str(own), str(root))
    monkeypatch.setattr(hardware, "_limit_files", lambda: files)
    assert hardware.main_memory() >= machine
    for folder, name, limit in (
        (".", "memory.max", "max"),
        ("memory/jobs/1", "memory.limit_in_bytes", "3000000"),
        ("slurm/job", "memory.max", "2000000"),
        ("slurm/job/step", "memory.max", "max"),
    ):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / name).write_text(limit + "\n")
    assert hardware.main_memory() == 2_000_000
    (root / "slurm/job/memory.max").unlink()
    assert hardware.main_memory() == 3_000_000
    (root / "memory.max").write_text("1000\n")
    assert hardware.main_memory() == 1000
