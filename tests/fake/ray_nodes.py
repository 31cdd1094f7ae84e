"""A Ray cluster of two nodes on this machine, which ends with its standard input; it prints its address."""

import os
import sys
from typing import Any

from ray.cluster_utils import Cluster

NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}


def main() -> None:
    """Start both nodes, and wait."""
    # On a machine whose cores other tests keep busy, a node took more than Ray's own 30 s to start.
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    try:
        cluster.add_node(**NODE)
        print(cluster.address, flush=True)  # noqa: T201 - the test reads it
        sys.stdin.read()
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
