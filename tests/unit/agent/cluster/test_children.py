"""The processes that Ray starts on nodes learn how those that they start end."""

import subprocess
import sys


def test_the_end_of_a_process_is_heard_of_where_ray_lets_the_kernel_reap() -> None:
    code = """if True:
        import signal, subprocess, threading
        from agent.cluster import connection
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        print(subprocess.run(["sh", "-c", "kill -9 $$"]).returncode)
        thread = threading.Thread(target=connection._see_children_end)
        thread.start()
        thread.join()
        print(subprocess.run(["sh", "-c", "kill -9 $$"]).returncode)
    """
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["0", "-9"]
