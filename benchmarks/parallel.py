"""Measure what each way of training in parallel sends, and what a slow link does to it.

Questions:

1. How long does an all-reduce of n bytes take here, and which latency and bandwidth
   (`fit_link`) explain it?
2. How long is a step of each scheme, and how much does a rank send? The model is a
   chain of four linear layers of 512 features with a GELU after each; the batch of 64
   is shared by all ranks. Ratios are to the single process, whose steps are taken in
   the same run.
3. What does a slow link between two hosts change? The hosts are network namespaces
   joined by a virtual cable, `tc tbf` limits its rate, and where the kernel has
   `netem` a delay is added. Needs root on Linux.

The wall time counts, since waiting for a link is what is asked about; a row is the
median over rounds with its quartiles. Rows are appended to `results/parallel.csv`.

    python -m benchmarks.parallel [--rounds 20] [--only local hosts]
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from benchmarks.optimizers import append_rows, device_name
from mlopt_edu.parallel import launch
from mlopt_edu.parallel.cost_link import all_reduce_seconds, fit_link
from mlopt_edu.parallel.pipeline import balance, train_step
from mlopt_edu.parallel.schedule import gpipe, one_f_one_b
from mlopt_edu.parallel.tensor_plan import Column, Row, shard_
from mlopt_edu.parallel.traffic import Traffic

RESULTS = Path(__file__).parent / "results" / "parallel.csv"
ROOT = Path(__file__).parents[1]
SIZES = [2**10, 2**13, 2**16, 2**18, 2**20, 2**22]  # bytes
WIDTH, BATCH, MICRO, LOCAL_STEPS = 512, 64, 4, 8

# The cable between the hosts: rate in Mbit/s (none: as fast as it goes), delay in ms.
CABLES: list[tuple[int | None, float]] = [(None, 0), (1000, 0), (100, 0), (1000, 5)]
HOSTS = ("mlopt0", "mlopt1")

Step = Callable[[], object]


def model() -> nn.Sequential:
    """Return the layers, the same on every rank."""
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU()) for _ in range(4)]
    return nn.Sequential(*layers)


def batch() -> tuple[Tensor, Tensor]:
    """Return inputs and targets of all ranks."""
    torch.manual_seed(1)
    return torch.randn(BATCH, WIDTH), torch.randn(BATCH, WIDTH)


def alone() -> Step:
    """Return a step of one process on the whole batch."""
    net, (x, y) = model(), batch()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        mse_loss(net(x), y).backward()
        optimizer.step()

    return step


def data() -> Step:
    """Return a step on this rank's rows, with one all-reduce of all gradients."""
    net, (x, y) = model(), mine(*batch())
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        mse_loss(net(x), y).backward()
        average([p.grad for p in net.parameters() if p.grad is not None])
        optimizer.step()

    return step


def local_sgd() -> Step:
    """Return a step without the others; after every eighth the weights are averaged."""
    net, (x, y) = model(), mine(*batch())
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        optimizer.zero_grad()
        mse_loss(net(x), y).backward()
        optimizer.step()
        if steps % LOCAL_STEPS == 0:
            average([p.data for p in net.parameters()])

    return step


def tensor() -> Step:
    """Return a step in which two layers in turn are cut by columns and by rows."""
    net, (x, y) = model(), batch()
    plan = {"0.0": Column(), "1.0": Row(), "2.0": Column(), "3.0": Row()}
    shard_(net, plan)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        mse_loss(net(x), y).backward()
        optimizer.step()

    return step


def pipeline(schedule: Callable[[int, int], Any]) -> Step:
    """Return a step of a pipeline with four micro-batches."""
    world_size, (x, y) = dist.get_world_size(), batch()
    layers = balance([1.0] * 4, world_size)[dist.get_rank()]
    stage = model()[layers.start : layers.stop]
    actions = schedule(world_size, MICRO)
    optimizer = torch.optim.SGD(stage.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        train_step(stage, actions, inputs=x, targets=y, loss_fn=mse_loss)
        optimizer.step()

    return step


SCHEMES: dict[str, Callable[[], Step]] = {
    "one process": alone,
    "data parallel": data,
    f"local SGD, every {LOCAL_STEPS}": local_sgd,
    "tensor parallel": tensor,
    "pipeline, GPipe": lambda: pipeline(gpipe),
    "pipeline, 1F1B": lambda: pipeline(one_f_one_b),
}


def mine(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return this rank's rows."""
    rank, world_size = dist.get_rank(), dist.get_world_size()
    return x.tensor_split(world_size)[rank], y.tensor_split(world_size)[rank]


def average(tensors: list[Tensor]) -> None:
    """Average tensors over the ranks, in one all-reduce."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    parts = flat.split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))


def measure(rounds: int) -> list[dict[str, Any]]:
    """Measure on every rank at once; the rows are the same but for the times."""
    rows: list[dict[str, Any]] = []
    for n_bytes in SIZES:
        values = torch.ones(n_bytes // 4)
        row = timed(lambda values=values: dist.all_reduce(values), rounds)
        rows.append({"what": "all-reduce", "bytes": n_bytes} | row)
    for name, make in SCHEMES.items():
        step = make()
        for _ in range(LOCAL_STEPS):
            step()
        with Traffic() as traffic:
            for _ in range(LOCAL_STEPS):
                step()
        # Whole periods of local SGD, and the mean of one: most of its steps are free.
        row = timed(lambda step=step: [step() for _ in range(LOCAL_STEPS)], rounds // 4)
        row = {key: value / LOCAL_STEPS for key, value in row.items()}
        rows.append({"what": name, "sent": traffic.sent / LOCAL_STEPS} | row)
    return rows


def timed(work: Step, rounds: int) -> dict[str, float]:
    """Return the quartiles of the seconds that a piece of work takes."""
    times = []
    for _ in range(max(4, rounds) + 1):
        dist.barrier()
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    low, middle, high = statistics.quantiles(times[1:], n=4)
    return {"seconds": middle, "seconds_q1": low, "seconds_q3": high}


def judged(
    ranks: list[list[dict[str, Any]]], where: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield the rows of the slowest rank, with the fitted link and the ratios."""
    world_size = len(ranks)
    rows = [max(rank, key=lambda row: row["seconds"]) for rank in zip(*ranks)]  # noqa: B905
    sent = [max(row.get("sent", 0.0) for row in rank) for rank in zip(*ranks)]  # noqa: B905
    base = next(r["seconds"] for r in rows if r["what"] == "one process")
    reduces = [row for row in rows if row["what"] == "all-reduce"]
    link = fit_link(
        [row["bytes"] for row in reduces],
        [world_size] * len(reduces),
        [row["seconds"] for row in reduces],
    )
    for row, most in zip(rows, sent, strict=True):
        found = dict(where) | {"world_size": world_size, "what": row["what"]}
        for key in ("seconds", "seconds_q1", "seconds_q3"):
            found[key] = f"{row[key]:.3g}"
        if row["what"] == "all-reduce":
            predicted = all_reduce_seconds(row["bytes"], world_size, link)
            found |= {
                "bytes": row["bytes"],
                "fitted_latency_us": round(1e6 * link.latency, 1),
                "fitted_megabytes_per_s": round(link.bandwidth / 1e6, 1),
                "predicted_seconds": f"{predicted:.3g}",
            }
        else:
            found |= {"bytes": most, "ratio": round(row["seconds"] / base, 3)}
        yield found


def local(rounds: int) -> Iterator[dict[str, Any]]:
    """Measure ranks of this machine."""
    for world_size in (2, 4):
        ranks = launch(measure, world_size, rounds, timeout=300.0)
        yield from judged(ranks, {"where": "one machine"})


def hosts(rounds: int) -> Iterator[dict[str, Any]]:
    """Measure two ranks in two namespaces, once for each cable."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise SystemExit("hosts needs root on Linux: it makes network namespaces")
    missing = [name for name in ("ip", "tc") if shutil.which(name) is None]
    if missing:
        raise SystemExit(f"hosts needs {' and '.join(missing)}: install iproute2")
    # A run that `timeout` ends must still take its hosts down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    for rate, delay in CABLES:
        try:
            connect(rate, delay)
            ranks = run_on_hosts(rounds)
        except subprocess.CalledProcessError as error:
            said = (error.stderr or "").strip()
            tried = " ".join(error.cmd)
            print(f"{rate} Mbit/s, {delay} ms not measured: `{tried}` said: {said}")
            continue
        finally:
            for host in HOSTS:
                subprocess.run(["ip", "netns", "del", host], capture_output=True)
        yield from judged(
            ranks, {"where": "two hosts", "megabit_per_s": rate, "delay_ms": delay}
        )


def connect(rate: int | None, delay: float) -> None:
    """Make two hosts with a cable between them: 10.77.0.1 and 10.77.0.2."""
    for host in HOSTS:
        command(f"ip netns add {host}")
    first, second = HOSTS
    command(f"ip link add eth0 netns {first} type veth peer name eth0 netns {second}")
    for number, host in enumerate(HOSTS, start=1):
        command(f"ip -n {host} addr add 10.77.0.{number}/24 dev eth0")
        command(f"ip -n {host} link set lo up")
        command(f"ip -n {host} link set eth0 up")
        if delay:
            limit = f" rate {rate}mbit" if rate else ""
            command(
                f"tc -n {host} qdisc add dev eth0 root netem delay {delay}ms{limit}"
            )
        elif rate:
            shape = f"rate {rate}mbit burst 64kb latency 200ms"
            command(f"tc -n {host} qdisc add dev eth0 root tbf {shape}")


def run_on_hosts(rounds: int) -> list[list[dict[str, Any]]]:
    """Run this script as one rank on each host and return what they measured."""
    processes = []
    try:
        for rank, host in enumerate(HOSTS):
            place = {
                "RANK": str(rank),
                "WORLD_SIZE": str(len(HOSTS)),
                "MASTER_ADDR": "10.77.0.1",
                "MASTER_PORT": "29500",
                "GLOO_SOCKET_IFNAME": "eth0",
            }
            script = [sys.executable, "-m", "benchmarks.parallel", "--as-rank"]
            processes.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", host, *script, "--rounds", str(rounds)],
                    env=os.environ | place,
                    cwd=ROOT,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        outputs = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    if any(process.returncode for process in processes):
        raise SystemExit("a rank on a host failed: see its message above")
    ranks: list[list[dict[str, Any]]] = json.loads(outputs[0].splitlines()[-1])
    return ranks


def command(line: str) -> None:
    """Run a command; raise with its message if it fails."""
    subprocess.run(line.split(), check=True, capture_output=True, text=True)


def main() -> None:
    """Measure what was asked for and store the rows."""
    cases = {"local": local, "hosts": hosts}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", nargs="+", choices=cases, default=list(cases))
    parser.add_argument("--as-rank", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--no-save", action="store_true", help="only print the rows")
    args = parser.parse_args()
    if args.as_rank:
        ranks = launch(measure, len(HOSTS), args.rounds)
        print(json.dumps(ranks), flush=True)
        dist.destroy_process_group()
        return
    measured_on = {
        "rounds": args.rounds,
        "date": datetime.date.today().isoformat(),
        "device": device_name("cpu"),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    rows = []
    for name in args.only:
        for row in cases[name](args.rounds):
            rows.append(row | measured_on)
            print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    if not args.no_save:
        append_rows(RESULTS, rows)


if __name__ == "__main__":
    main()
