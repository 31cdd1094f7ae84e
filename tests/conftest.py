"""Fixtures that every room of the tests may ask for."""

import os
import signal
from pathlib import Path

import pytest

# Read when torch is loaded; the Makefile says why.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

# What a shell starts in the background does not hear of an interrupt, nor does what that starts; tests interrupt both.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def open_images() -> Path:
    """Folder of the small open data sets in their original layouts, beside the project where it exists."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the open images are not beside the project: no folder shared/data")
    return folder


@pytest.fixture(scope="session")
def backbone_weights() -> Path:
    """ImageNet weights of timm's mobilenetv2_100, beside the project where they exist."""
    file = SHARED / "weights" / "mobilenetv2_100.safetensors"
    if not file.is_file():
        pytest.skip("no backbone weights beside the project: no file shared/weights/mobilenetv2_100.safetensors")
    return file
