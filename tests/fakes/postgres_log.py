"""The interaction log on a Postgres server."""

from pathlib import Path

from agent.log.interaction_log import InteractionLog
from agent.log.postgres_schema import STEPS
from agent.storage.postgres import open_postgres


def opened(url: str) -> InteractionLog:
    return InteractionLog(Path("unused"), database=open_postgres(url, STEPS))


def texts(log: InteractionLog) -> list[str]:
    return [one.trajectory.messages[0].content for one in log.read()]
