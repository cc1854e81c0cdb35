"""TCP ports: those on which processes listen, and one that is kept for a test."""

import os
import socket
from pathlib import Path


def reserved(port: int = 0, host: str = "127.0.0.1") -> socket.socket:
    """Bind a port of ``host`` without listening on it; 0: a free one. Close the socket to give it back.

    Connections are refused until somebody else binds it too and listens; the kernel gives it to nobody as a free one.
    """
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.bind((host, port))
    return place


def listening(pids: set[int]) -> set[int]:
    """Return the TCP ports on which any of the processes listens."""
    sockets = {link for pid in pids for link in _links(Path(f"/proc/{pid}/fd"))}
    rows = [row for table in ("tcp", "tcp6") for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    return {
        int(fields[1].rpartition(":")[2], 16)
        for fields in map(str.split, rows)
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets
    }


def of_sessions(*sessions: int) -> set[int]:
    """Return the processes of the sessions."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getsid(int(entry.name)) in sessions:
                    found.add(int(entry.name))
            except ProcessLookupError:
                continue
    return found


def _links(folder: Path) -> list[str]:
    found = []
    for entry in folder.iterdir():
        try:
            found.append(str(entry.readlink()))
        except OSError:  # closed meanwhile
            continue
    return found
