"""Inside the sandbox of a started MCP server, just before it: limits, no root, bounded scratch folders, a filter of
system calls.

``python entry.py SETUP PROGRAM ARGUMENT...``; SETUP is a JSON object with ``package`` (the folder that holds this
package), ``user`` (null, or who to become), ``network``, ``limits`` (name of a resource -> value), ``scratch`` (folder
-> what is bound below it), ``scratch_bytes`` and ``scratch_files`` (of each). Standard library only.
"""

import json
import os
import resource
import sys
from typing import NoReturn


def main() -> NoReturn:
    setup, command = json.loads(sys.argv[1]), sys.argv[2:]
    sys.path.insert(0, setup["package"])
    from toolkit.sandbox import kernel, seccomp

    for name, value in setup["limits"].items():
        limit = getattr(resource, name)
        hard = resource.getrlimit(limit)[1]
        lower = value if hard < 0 else min(value, hard)
        resource.setrlimit(limit, (lower, lower))
    if setup["user"] is not None:
        kernel.become(setup["user"])
    kernel.be_first_to_go()
    kernel.fresh_keyring()
    kernel.new_mounts()
    for target, keep in setup["scratch"].items():
        kernel.mount_over(target, size_bytes=setup["scratch_bytes"], inodes=setup["scratch_files"], keep=keep)
    os.chdir("/tmp")
    kernel.drop_capabilities()
    kernel.filter_system_calls(seccomp.build_server_filter(network=setup["network"]))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
