"""The program that runs once on every node before a training: are these machines fit, and fit for each other?

``torchrun --nproc-per-node 1 training/node_check.py --config run.yaml --processes 8``, or by whatever starts the
training itself and sets RANK (here the number of the node), WORLD_SIZE, MASTER_ADDR and MASTER_PORT. Each looks at its
machine (``training.node_facts``); then they meet, compare clocks and measure the network between them; the first one
prints a table, and what is wrong, by node and by name. No file has to be shared for that.

Exit codes: 0 all is well; 2 something differs or is missing, which stays so until somebody changes it; 1 some node
did not come or could not talk to the others.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

# Started as a file, Python looks for modules in this folder; without an installation they are found from above it.
if sys.path and Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, TCPStore

from training.artifact import write_atomically
from training.events import Event, append_event
from training.exit_codes import leave
from training.node_facts import Gpu, NodeFacts, node_facts, node_name, table
from training.run_settings import load_run_settings
from training.settings import SettingsError

NODES = "nodes.json"
UNFIT, ALONE = 2, 1
LARGEST_OFFSET_SECONDS = 5.0
"""Between clocks; beyond it logs of several nodes cannot be read together, and signs of life look late."""
ALL_REDUCE_BYTES = 64 << 20
_ROUNDS = 3


class _AloneError(RuntimeError):
    """Ranks do not find each other; the message says which."""


def unfit(facts: Sequence[NodeFacts]) -> list[str]:
    """What is wrong, a sentence each, which begins with the node."""
    found = [f"node {node.node}: {problem}" for node in facts for problem in node.problems]
    seen = [node for node in facts if node.same]
    for name in dict.fromkeys(name for node in seen for name in node.same):
        values = [node.same.get(name, "missing") for node in seen]
        # The first one's where there is no majority.
        usual, _ = Counter(values).most_common(1)[0]
        example = seen[values.index(usual)].node
        found += [
            f"node {node.node}: {name} is {value}, and on {example} it is {usual}"
            for node, value in zip(seen, values, strict=True)
            if value != usual
        ]
        found += [f"node {node.node}: {name} is missing" for node in seen[:1] if usual == "missing"]
    return found + [
        f"node {node.node}: its clock is {node.offset:+.1f} s off that of {facts[0].node}; run a time service"
        for node in facts
        if abs(node.offset) > LARGEST_OFFSET_SECONDS
    ]


def check_nodes(arguments: argparse.Namespace, node: int, nodes: int) -> int:
    """Meet the other nodes and compare; returns the exit code.

    Raises:
        _AloneError: If they do not all come, or cannot talk.
    """
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    facts = _look(arguments.config, arguments.processes, device)
    wait = timedelta(seconds=arguments.wait_seconds)
    store = _meet(node, wait)
    store.set(f"facts/{node}", json.dumps(asdict(facts)))
    if not node:
        _wait_for_all(store, nodes, arguments.nodes.split(",") if arguments.nodes else [], arguments.wait_seconds)
        store.set("all", "")
    store.wait(["all"], 2 * wait)
    now, bandwidth = _talk(store, node, nodes, device, wait)
    store.set(f"time/{node}", repr(now))
    if not node:
        found = []
        for number in range(nodes):
            store.wait([f"time/{number}"], wait)
            other = _read_facts(store.get(f"facts/{number}"))
            found.append(replace(other, offset=float(store.get(f"time/{number}")) - now, bandwidth=bandwidth))
        store.set("verdict", str(_judge(found, arguments.config)))
    store.wait(["verdict"], wait)
    code = int(store.get("verdict"))
    store.set(f"left/{node}", "")
    if not node:
        # It may be the one that the others ask.
        store.wait([f"left/{number}" for number in range(nodes)], wait)
    return code


def _look(config: Path, processes: int, device: torch.device) -> NodeFacts:
    try:
        facts = node_facts(load_run_settings(config), ranks=processes, gpus=device.type == "cuda")
    except SettingsError as error:
        return NodeFacts(node_name(), {}, ranks=processes, problems=[str(error)])
    count = torch.cuda.device_count() if device.type == "cuda" else 0
    broken = [
        f"its GPU {number} does not work: {why}" for number in range(min(processes, count)) if (why := _broken(number))
    ]
    return replace(facts, problems=[*facts.problems, *broken])


def _broken(number: int) -> str:
    """Why a GPU does not multiply, or nothing."""
    try:
        ones = torch.ones(256, 256, device=torch.device("cuda", number))
        return "" if bool(((ones @ ones) == 256).all()) else "it multiplies wrongly"
    except RuntimeError as error:
        return str(error).splitlines()[0]


def _meet(node: int, wait: timedelta) -> Any:
    """The place where they leave each other words: torchrun's agent has one; otherwise the first of them opens it."""
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    of_agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    try:
        store = TCPStore(host, port, is_master=not node and not of_agent, wait_for_workers=False, timeout=wait)
    except (dist.DistError, RuntimeError) as error:
        raise _AloneError(
            f"node {node_name()} cannot reach the first one at {host}:{port}; look at names, routes and "
            f"firewalls ({str(error).splitlines()[0]})"
        ) from None
    return PrefixStore(f"node_check/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _wait_for_all(store: Any, nodes: int, names: Sequence[str], seconds: float) -> None:
    missing, deadline = set(range(nodes)), time.monotonic() + seconds
    while missing and time.monotonic() < deadline:
        missing -= {number for number in missing if store.check([f"facts/{number}"])}
        time.sleep(0.05)
    if missing:
        named = ", ".join(names[number] if number < len(names) else f"number {number}" for number in sorted(missing))
        raise _AloneError(f"node(s) {named} did not report to the first one within {seconds:.0f} s")


def _talk(store: Any, node: int, nodes: int, device: torch.device, wait: timedelta) -> tuple[float, float]:
    """The time when all had just heard of each other, and the bandwidth of an all-reduce in bytes a second.

    Bandwidth as NVIDIA's nccl-tests define it (doc/PERFORMANCE.md, bus bandwidth): 2 (n - 1) / n of the bytes.
    """
    if nodes == 1:
        return time.time(), 0.0
    try:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=PrefixStore("nodes", store),
            rank=node,
            world_size=nodes,
            timeout=wait,
        )
        dist.barrier()
        now = time.time()
        buffer = torch.zeros(ALL_REDUCE_BYTES // 4, device=device)
        seconds = []
        for _ in range(_ROUNDS):
            begin = time.perf_counter()
            dist.all_reduce(buffer)
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - begin)
        dist.destroy_process_group()
    except (dist.DistError, RuntimeError) as error:
        raise _AloneError(
            f"node {node_name()} cannot talk to the others; where it has several networks, set 'interface' "
            f"({str(error).splitlines()[0]})"
        ) from None
    return now, 2 * (nodes - 1) / nodes * ALL_REDUCE_BYTES / min(seconds)


def _read_facts(text: bytes) -> NodeFacts:
    fields = json.loads(text)
    return NodeFacts(**fields | {"gpus": tuple(Gpu(**gpu) for gpu in fields["gpus"])})


def _judge(facts: Sequence[NodeFacts], config: Path) -> int:
    """Print and write down what was found; returns the exit code."""
    wrong = unfit(facts)
    print(table(facts), flush=True)
    speed = f"; an all-reduce of 64 MiB ran at {facts[0].bandwidth / 1e9:.2f} GB/s" if facts[0].bandwidth else ""
    try:
        run = Path(load_run_settings(config).output)
        content = {"nodes": [asdict(node) for node in facts], "problems": wrong}
        write_atomically(run / NODES, json.dumps(content, indent=1, ensure_ascii=False))
        if not wrong:
            message = f"{len(facts)} node(s) are fit for the training{speed}\n{table(facts)}"
            append_event(run, Event("progress", message))
    except (SettingsError, OSError) as error:
        wrong.append(str(error))
    if wrong:
        print(f"error: {'; '.join(wrong)}", file=sys.stderr, flush=True)
        return UNFIT
    return 0


def main() -> int:
    """Entry point on every node."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="the training's file")
    parser.add_argument("--processes", type=int, default=1, help="ranks of each node")
    parser.add_argument("--nodes", default="", help="names of the nodes, in order, with commas between them")
    parser.add_argument("--wait-seconds", type=float, default=180.0, help="time for all nodes to come")
    arguments = parser.parse_args()
    node, nodes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "0")
    try:
        return check_nodes(arguments, node, nodes)
    except _AloneError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
    except (dist.DistError, RuntimeError) as error:
        # The first one knows why and says it.
        print(f"node {node_name()} ends its check: {str(error).splitlines()[0]}", file=sys.stderr, flush=True)
    return ALONE


if __name__ == "__main__":
    leave(main())
