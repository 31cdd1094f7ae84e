"""The engine of a Ray cluster: plain remote tasks, which find and leave everything on storage that all nodes share."""

import hashlib
import logging
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import upd_harness
import upd_zoo
from upd_harness.engines.engine import EXPECTED, Answer, Ended, Item, killed
from upd_zoo.errors import MissingExtraError, OfflineError, UpdZooError, UsageError

_OBJECT_STORE: Final = 100_000_000
"""Bytes of memory for what tasks return, where a cluster is started: names and numbers. Ray's own share of a machine is
30 % of its memory."""


@dataclass(frozen=True, slots=True)
class RayEngine:
    """Carries out work as tasks of the Ray cluster that this process is connected to.

    Attributes:
        cpus: What a task takes of a node.
        gpus: Likewise; a fraction lets tasks share one.
        retries: How many times a task is begun again whose process or node has died.
    """

    cpus: int = 1
    gpus: float = 0
    retries: int = 3

    def each(self, work: Callable[[Item], Answer], items: Sequence[Item]) -> Iterator[Ended[Item, Answer]]:
        """Yield what became of each item as it ends; see `Engine`."""
        import ray

        # One call for each process: nothing that a task imports, holds or has set of threads reaches the next.
        options = {"num_cpus": self.cpus, "num_gpus": self.gpus, "max_retries": self.retries, "max_calls": 1}
        task, code = ray.remote(**options)(_carried), _code()
        pending = {task.remote(work, item, code): item for item in items}
        try:
            while pending:
                (ready, *_), _ = ray.wait([*pending])
                yield _ended(pending.pop(ready), ready)
        finally:  # whoever stops early, as an interrupt does, leaves nothing running
            for one in pending:
                with suppress(ray.exceptions.RayError):
                    ray.cancel(one, force=True)


@contextmanager
def connected(address: str | None, engine: RayEngine) -> Iterator[RayEngine]:
    """Give an engine while this process is connected to a cluster.

    Args:
        address: Of the cluster; None starts one on this machine, which ends with the block.
        engine: What its tasks take.

    Raises:
        MissingExtraError: Ray is not installed.
        OfflineError: No cluster answers at the address, or it asks for another token.
    """
    # Ray would send counts of its use to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Without it, a worker that was given no GPU warns of how Ray will treat GPUs in a later version.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingExtraError("The engine ray", "cluster") from error
    own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE}
    try:
        where = {"address": "local", **own} if address is None else {"address": address}
        ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.AuthenticationError) as error:
        # A wrong token ends in the same error as a wrong address.
        raise OfflineError(
            f"no Ray cluster lets this process in at {address or 'this machine'}: {_first_line(error)}",
            "HOST:PORT of a head node that runs, with --address or RAY_ADDRESS, and its token",
            "ray start --head there; where it asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN here",
        ) from error
    try:
        yield engine
    finally:
        ray.shutdown()


def _carried(work: Callable[[Item], Answer], item: Item, code: str) -> Answer:
    if code != _code():
        raise UsageError(
            f"the node {platform.node()} has another version of upd-zoo than the one that this was asked of",
            "the same on every node",
            "install it there",
        )
    return work(item)


def _code() -> str:
    """Return a hash of all code of upd-zoo that this process would run."""
    digest = hashlib.sha256()
    for package in (upd_zoo, upd_harness):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _ended(item: Item, ready: Any) -> Ended[Item, Any]:
    import ray

    try:
        return Ended(item, ray.get(ready), None)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if not isinstance(cause, EXPECTED):
            raise
        return Ended(item, None, cause)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError):
        return Ended(item, None, killed())
    except ray.exceptions.RayError as error:
        return Ended(item, None, UpdZooError(f"Ray could not carry it out: {_first_line(error)}"))


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
