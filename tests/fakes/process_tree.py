"""A command that starts children, one of them in a session of its own, and serves /health; stands in for vLLM.

``process_tree.py SOCKET FOLDER [deaf|dies|silent]``: each process leaves a file named after its pid in FOLDER.
"""

import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer


class _Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        return


def main(socket: str, folder: Path, manner: str) -> None:
    print("starting, key is", os.environ.get("VLLM_API_KEY", "absent"), flush=True)
    if manner == "dies":
        print("ValueError: no such model", file=sys.stderr, flush=True)
        sys.exit(1)
    if manner == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for own_session in (False, True):
        command = [sys.executable, __file__, "0", str(folder), "leaf"]
        subprocess.Popen(command, start_new_session=own_session)
    while len(list(folder.iterdir())) < 2:
        time.sleep(0.005)
    (folder / str(os.getpid())).touch()
    if manner == "silent":
        signal.pause()
    print("Using Stand-in.", flush=True)
    UnixStreamServer(socket, _Health).serve_forever()


def leaf(folder: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (folder / str(os.getpid())).touch()
    signal.pause()


if __name__ == "__main__":
    if sys.argv[3] == "leaf":
        leaf(Path(sys.argv[2]))
    else:
        main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
