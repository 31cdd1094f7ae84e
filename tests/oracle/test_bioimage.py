"""`rdf.yaml` against the library that defines it."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fake.trained import COLOUR, GREY, trained_artefact
from upd_zoo.artefact.records import RDF

pytestmark = pytest.mark.slow

# In a process of its own: the library leaves files open.
_JUDGED = """
import sys
from pathlib import Path
import bioimageio.spec as spec

found = spec.load_description(Path(sys.argv[1]), perform_io_checks=True)
print(found.validation_summary.status, type(found).__name__)
if isinstance(found, spec.InvalidDescr):
    print(found.validation_summary.format())
"""


@pytest.mark.parametrize("model", [GREY, COLOUR])
def test_the_tools_of_bioimage_io_accept_an_artefact(
    model: str, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    if importlib.util.find_spec("bioimageio") is None:
        pytest.skip("bioimageio.spec is not installed: pip install 'upd-zoo[oracle]'")
    file = trained_artefact(tmp_path_factory, model) / RDF
    done = subprocess.run(
        [sys.executable, "-c", _JUDGED, str(file)],
        env=os.environ | {"BIOIMAGEIO_CACHE_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    status, kind = done.stdout.split()[:2]
    assert (status, kind) == ("valid-format", "ModelDescr"), done.stdout
