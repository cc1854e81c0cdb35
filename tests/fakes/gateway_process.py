"""A gateway that a test can kill: DATA_FOLDER UPSTREAM_URL [DATABASE]. Says its URL on stdout."""

import sys
from pathlib import Path

from agent.config import GatewayConfig
from agent.log.interaction_log import InteractionLog
from agent.serving.gateway.app import Gateway
from agent.serving.gateway.capture_log import CaptureLog
from agent.serving.upstreams.connection import Upstream
from agent.storage import database_server
from tests.fakes.model_gateway import KEY, running


def main(data: Path, upstream: str, database: str = "") -> None:
    database_server.keep(data, database)
    with InteractionLog(data / "interactions.db") as log:
        gateway = Gateway(data, GatewayConfig(requests_per_minute=0), log=CaptureLog(log))
        gateway.pool.replace([Upstream(upstream, KEY)])
        with running(gateway) as url:
            print(url, flush=True)
            sys.stdin.read()  # until the test closes it
            print("stopping", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
