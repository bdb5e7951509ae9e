"""Versions for the report of a bug: ``python -m skae --versions``."""

import argparse
import platform
import re
import sys
from importlib import metadata

import torch

import skae


def versions() -> dict[str, str]:
    """Return the versions of skae, of what it stands on and of what it may use, and the devices."""
    found = {
        "skae": skae.__version__,
        "python": sys.version.split()[0],
        "system": platform.platform(),
    }
    for requirement in metadata.requires("skae") or []:
        name = re.match(r"[\w.-]+", requirement)[0]
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    found["torch"] = torch.__version__  # which says what it was built for
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():  # pragma: other device
        devices.append("mps")
    found["GPUs"] = ", ".join(devices) or "none"
    found["torch threads"] = str(torch.get_num_threads())
    return found


def main(arguments: list[str] | None = None) -> None:
    """Print the versions."""
    parser = argparse.ArgumentParser(prog="python -m skae", description=skae.__doc__)
    parser.add_argument(
        "--versions", action="store_true", help="print what a report of a bug should say"
    )
    if not parser.parse_args(arguments).versions:
        parser.print_help()
        return
    table = versions()
    width = max(map(len, table))
    for name, value in table.items():
        print(f"{name:>{width}}: {value}")


if __name__ == "__main__":
    main()
