"""Groups of one process: no ports, and the answers of gloo."""

import json
import subprocess
import sys

_CODE = """
import json, os, sys, tempfile, warnings
from pathlib import Path
import torch
import torch.distributed as dist
from tests.fakes.ports import listening
warnings.simplefilter("ignore")
if sys.argv[1] == "alone":
    from agent.serving.vllm_plugin import lone_groups
    lone_groups.install()
    lone_groups.install()
with tempfile.TemporaryDirectory() as folder:
    dist.init_process_group(backend="gloo", init_method=f"file://{folder}/store", world_size=1, rank=0)
    group = dist.new_group([0], backend="gloo")
    x = torch.arange(4.0)
    filled = lambda: torch.full((4,), -1.0)
    found = {}
    for name in ("all_reduce", "reduce", "broadcast"):
        mine = x.clone()
        getattr(dist, name)(mine, *([0] if name != "all_reduce" else []), group=group)
        found[name] = mine.tolist()
    for name in ("all_gather_into_tensor", "reduce_scatter_tensor", "all_to_all_single"):
        mine = filled()
        getattr(dist, name)(mine, x, group=group)
        found[name] = mine.tolist()
    gathered = [filled()]
    dist.all_gather(gathered, x, group=group)
    found["all_gather"] = gathered[0].tolist()
    gathered = [filled()]
    dist.gather(x, gathered, 0, group=group)
    found["gather"] = gathered[0].tolist()
    mine = filled()
    dist.scatter(mine, [x], 0, group=group)
    found["scatter"] = mine.tolist()
    objects = [None]
    dist.all_gather_object(objects, {"a": 1}, group=group)
    found["all_gather_object"] = objects
    objects = [{"b": 2}]
    dist.broadcast_object_list(objects, 0, group=group)
    found["broadcast_object_list"] = objects
    dist.barrier(group=group)
    ports = listening({os.getpid()})
    dist.destroy_process_group()
print(json.dumps({"found": found, "ports": len(ports)}))
"""


def _run(how: str) -> dict[str, object]:
    done = subprocess.run([sys.executable, "-c", _CODE, how], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_group_of_one_answers_as_gloo_does_and_opens_no_port() -> None:
    gloo, alone = _run("gloo"), _run("alone")
    assert alone["found"] == gloo["found"]
    assert gloo["ports"] == 2
    assert alone["ports"] == 0
