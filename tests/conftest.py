"""How tests are run, and fixtures that every room of them may ask for."""

import os
import signal
from pathlib import Path

import hypothesis
import pytest

# Read when torch and NumPy are loaded. Tests run side by side, a process for each core: on two cores, two processes of
# two threads each wait for one another longer than they compute. The Makefile says why threads do not spin.
os.environ.update({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

# `make test` looks at some examples, `make test-all` asks for more: --hypothesis-profile full.
hypothesis.settings.register_profile("full", max_examples=300)
hypothesis.settings.register_profile("some", max_examples=50)
hypothesis.settings.load_profile("some")

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
