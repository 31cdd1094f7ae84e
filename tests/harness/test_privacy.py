"""No run asks for a host, opens a connection or writes outside of its folders: a watched program tells."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fake.inputs import head, write_volume
from fake.program import PROGRAM

WATCH = """
import os, sys
def tell(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
        note(event + " " + repr(arguments[:2]))
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        note("open " + str(arguments[0]))
    if event in ("os.mkdir", "os.rename"):
        note("open " + str(arguments[event == "os.rename"]))
def note(line):
    os.write(NOTES, (line + "\\n").encode())
NOTES = os.open(os.environ["WATCH_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
sys.addaudithook(tell)
"""
"""Tells of what Python code does; run by every interpreter that finds it on its path."""
NATIVE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
static void note(const char *what, const char *name) {
    int notes = open(getenv("WATCH_NOTES"), O_WRONLY | O_APPEND | O_CREAT, 0600);
    char line[512] = "native ";
    strncat(line, what, 100); strncat(line, " ", 2); strncat(line, name ? name : "", 300); strncat(line, "\\n", 2);
    if (write(notes, line, strlen(line)) < 0) abort();
    close(notes);
}
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    note("getaddrinfo", node);
    return EAI_FAIL;
}
int connect(int socket, const struct sockaddr *address, socklen_t length) {
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    if (address->sa_family != AF_UNIX) note("connect", "");
    return real(socket, address, length);
}
"""
"""Tells of what native code looks up and connects to, such as that of ONNX Runtime; nothing is looked up."""
CALLS = "socket.", "urllib.", "native "


@pytest.fixture
def watched(tmp_path: Path) -> dict[str, str]:
    """The variables of a user with an empty home, whose every program is watched."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler to make the watch with")
    place = tmp_path / "watch"
    for folder in (place, tmp_path / "home", tmp_path / "work", tmp_path / "scratch"):
        folder.mkdir()
    (place / "sitecustomize.py").write_text(WATCH)
    (place / "watch.c").write_text(NATIVE)
    library = place / "watch.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, place / "watch.c", "-ldl"], check=True, timeout=60)
    unset = ("HF_", "UPD_ZOO_", "XDG_", "ORT_", "LD_", "MPL", "TORCH")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
    path = os.pathsep.join(filter(None, (str(place), kept.get("PYTHONPATH"))))
    return kept | {
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "scratch"),
        "PYTHONPATH": path,
        "PYTHONDONTWRITEBYTECODE": "1",
        "LD_PRELOAD": str(library),
        "WATCH_NOTES": str(place / "notes"),
        "OMP_NUM_THREADS": "1",
    }


def run_watched(watched: dict[str, str], *command: object) -> list[str]:
    """Run a program in the folder `work`, and return what was told of it."""
    notes = Path(watched["WATCH_NOTES"])
    done = subprocess.run(
        [str(word) for word in command],
        env=watched,
        cwd=notes.parent.parent / "work",
        check=False,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return notes.read_text().splitlines()


def outside(told: list[str], *allowed: Path) -> list[str]:
    """Return the files that were opened for writing, but those in some folders and those of the system."""
    names = [line.partition(" ")[2] for line in told if line.startswith("open /")]
    return [name for name in names if not Path(name).is_relative_to("/dev") and not is_below(Path(name), allowed)]


def is_below(path: Path, folders: tuple[Path, ...]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def test_the_watch_sees_what_it_is_for(watched: dict[str, str], tmp_path: Path) -> None:
    program = "import socket, os\ntry: socket.getaddrinfo('upd-zoo.invalid', 80)\nexcept OSError: pass\n"
    program += "open(os.path.expanduser('~/left'), 'w').close()"
    told = run_watched(watched, sys.executable, "-c", program)
    assert {line.split()[0] for line in told if line.startswith(CALLS)} == {"socket.getaddrinfo", "native"}
    assert outside(told, tmp_path / "work") == [str(tmp_path / "home" / "left")]


@pytest.mark.parametrize("backend", ["onnx", pytest.param("torch", marks=pytest.mark.slow)])
def test_a_scoring_run_asks_nobody_and_writes_nowhere_else(
    watched: dict[str, str], artefact: Path, tmp_path: Path, backend: str
) -> None:
    write_volume(tmp_path / "work" / "in" / "scan.nii.gz", head(0))
    told = run_watched(watched, PROGRAM, "score", "in", "-m", artefact, "-o", "out", "--backend", backend, "-d", "cpu")
    assert not [line for line in told if line.startswith(CALLS)]
    assert outside(told, tmp_path / "work", tmp_path / "scratch") == []
    assert [*(tmp_path / "home").rglob("*")] == []
    assert not [path for path in (tmp_path / "scratch").rglob("*") if path.is_file()], "torch leaves an empty folder"


def test_a_program_of_ones_own_that_loads_a_model_asks_nobody_either(
    watched: dict[str, str], artefact: Path, tmp_path: Path
) -> None:
    told = run_watched(watched, sys.executable, "-c", f"import upd_zoo; upd_zoo.load({str(artefact)!r}, device='cpu')")
    assert not [line for line in told if line.startswith(CALLS)]
    assert [*(tmp_path / "home").rglob("*")] == []
