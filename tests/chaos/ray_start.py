"""`ray start` with patience: Ray gives a node 30 s to start and its agents 15 s, no option.

On a machine that does other work too the agents' imports alone may take longer. Their ports are
given, so that they are written here, where the raylet waits for the agents to write them.
"""

from __future__ import annotations

import inspect
import time
from typing import Any

from ray import _raylet
from ray._private import services
from ray.scripts.scripts import main

LIMIT = 240.0  # seconds
PORTS = {
    "metrics_agent_port": _raylet.METRICS_AGENT_PORT_NAME,
    "metrics_export_port": _raylet.METRICS_EXPORT_PORT_NAME,
    "dashboard_agent_listen_port": _raylet.DASHBOARD_AGENT_LISTEN_PORT_NAME,
    "runtime_env_agent_port": _raylet.RUNTIME_ENV_AGENT_PORT_NAME,
}
_get_node, _start_raylet = services.get_node, services.start_raylet


def patient(*args: Any) -> Any:
    end = time.monotonic() + LIMIT
    while True:
        try:
            return _get_node(*args)
        except RuntimeError:  # not registered yet
            if time.monotonic() > end:
                raise
        time.sleep(0.2)


def start_raylet(*args: Any, **more: Any) -> Any:
    told = inspect.signature(_start_raylet).bind(*args, **more).arguments
    for argument, name in PORTS.items():
        _raylet.persist_port(told["session_dir"], told["node_id"], name, told[argument])
    return _start_raylet(*args, **more)


if __name__ == "__main__":
    services.get_node, services.start_raylet = patient, start_raylet
    main()
