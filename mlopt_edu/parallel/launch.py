"""Start ranks, wait for what they return, and leave no process behind.

A forkserver, started once, has torch loaded; each rank is a fork of it and is up in a
few hundredths of a second. Nothing of the caller is copied, neither its threads nor its
locks, so that it works from a notebook whose kernel has already computed, where a fork
of the kernel itself would hang.

Parent and rank hold the two ends of one pipe. The rank sends its result through it, and
goes when the pipe closes: when the launch is over, or when the parent is no more.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore
from torch.distributed.rendezvous import rendezvous

# What the forkserver loads, so that no rank needs to. The first step of an optimizer
# imports torch._dynamo, which takes as long as torch itself.
PRELOAD = ["torch.distributed", "torch._dynamo", "mlopt_edu.parallel.launch"]

# A rank ends with this status if it meets `launch` while it imports the script.
_NO_MAIN_GUARD = 113


class RankError(RuntimeError):
    """One rank of a launch failed; the others were ended.

    Attributes:
        rank: The rank that failed first.
    """

    def __init__(self, rank: int, message: str) -> None:
        super().__init__(message)
        self.rank = rank


def launch(
    function: Callable[..., Any],
    world_size: int,
    *args: Any,
    timeout: float = 60.0,
    device: str = "cpu",
) -> list[Any]:
    """Call `function(*args)` on `world_size` ranks and return what each returned.

    `torch.distributed` is initialised in each rank, and torch uses one thread. Under
    torchrun (RANK and WORLD_SIZE are set) this process is one rank already: the
    function runs here, and every rank gets all results.

    Args:
        function: What each rank runs. From a module, a script or a notebook cell.
        world_size: Number of ranks, at least 1.
        *args: Arguments of the function, the same for each rank.
        timeout: Seconds until all ranks must have returned.
        device: "cpu" for gloo; "cuda" for NCCL with one GPU a rank (gloo stays there
            for tensors on the CPU).

    Returns:
        What each rank returned, rank 0 first.

    Raises:
        ValueError: If an argument is out of its range.
        RankError: If a rank raised, with its traceback, or died.
        TimeoutError: If a rank did not return in time, with where each one stood.

    Example:
        >>> launch(divmod, 2, 17, 5)
        [(3, 2), (3, 2)]
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(_NO_MAIN_GUARD)
    if world_size < 1:
        raise ValueError(f"world_size must be at least 1, got {world_size}")
    if not timeout > 0:
        raise ValueError(f"timeout must be above 0 seconds, got {timeout}")
    if device not in ("cpu", "cuda"):
        raise ValueError(f'device must be "cpu" or "cuda", got {device!r}')
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return _run_in_place(function, world_size, args, device)
    if device == "cuda" and world_size > torch.cuda.device_count():
        raise ValueError(
            f"world_size must be at most the number of GPUs, "
            f"{torch.cuda.device_count()}, got {world_size}"
        )

    work = _dumps((function, args))
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    job = (work, world_size, store.port, device, dict(os.environ))
    ranks = _Ranks(world_size)
    try:
        for rank in range(world_size):
            ranks.start(rank, job)
        results = ranks.results(timeout)
    except BaseException:
        ranks.kill()
        raise
    ranks.release()
    return [pickle.loads(result) for result in results]


class _Ranks:
    """The processes of one launch and the parent's ends of their pipes."""

    def __init__(self, world_size: int) -> None:
        start = "spawn" if sys.platform == "win32" else "forkserver"
        self.context: Any = multiprocessing.get_context(start)
        if start == "forkserver":
            self.context.set_forkserver_preload(PRELOAD)
        self.world_size = world_size
        self.processes: list[Any] = []
        self.pipes: list[Connection] = []

    def start(self, rank: int, job: tuple[Any, ...]) -> None:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(
            target=_run_rank, args=(rank, theirs, *job), name=f"rank {rank}"
        )
        process.start()
        theirs.close()
        self.processes.append(process)
        self.pipes.append(ours)

    def results(self, timeout: float) -> list[bytes]:
        """Return the pickled result of each rank; raise at the first that fails."""
        deadline = time.monotonic() + timeout
        results: dict[int, bytes] = {}
        raised = None
        while len(results) < self.world_size:
            late = [rank for rank in range(self.world_size) if rank not in results]
            left = max(0.0, deadline - time.monotonic())
            ready = wait([self.pipes[rank] for rank in late], left)
            if not ready and raised is None:
                raise TimeoutError(self.report(timeout, late))
            if not ready:
                break
            for rank in late:
                if self.pipes[rank] not in ready:
                    continue
                try:
                    kind, content = self.pipes[rank].recv()
                except (EOFError, ConnectionError):
                    raise self.death(rank) from None
                if kind == "raised":
                    message = f"rank {rank} of {self.world_size} {content}"
                    raised = raised or RankError(rank, message)
                    # A rank that dies makes the others raise, perhaps a moment before
                    # its own pipe closes: it is the one to be named.
                    deadline = min(deadline, time.monotonic() + 0.5)
                results[rank] = content
        if raised is not None:
            raise raised
        return [results[rank] for rank in range(self.world_size)]

    def death(self, rank: int) -> RuntimeError:
        """Return the error that says how a rank died."""
        self.processes[rank].join(5)
        code = self.processes[rank].exitcode
        if code == _NO_MAIN_GUARD:
            return RuntimeError(
                'launch must stand under `if __name__ == "__main__":` in a script, '
                "because each rank imports the script"
            )
        how = f"status {code}"
        if code is not None and code < 0:
            how = signal.Signals(-code).name
        return RankError(
            rank,
            f"rank {rank} of {self.world_size} died with {how} before it returned",
        )

    def report(self, timeout: float, late: list[int]) -> str:
        """Return a message that says where each late rank stands."""
        names = ", ".join(str(rank) for rank in late)
        lines = [
            f"of {self.world_size} ranks, {names} had not returned after {timeout:g} s"
        ]
        for rank in late:
            stand = "gives no answer"
            with contextlib.suppress(EOFError, OSError):
                self.pipes[rank].send("where")
                if self.pipes[rank].poll(1.0):
                    kind, content = self.pipes[rank].recv()
                    stand = content if kind == "at" else "has just finished"
            lines.append(f"rank {rank} {stand}")
        return "\n".join(lines)

    def release(self) -> None:
        """Let the ranks go, now that none needs another any more."""
        for pipe in self.pipes:
            pipe.close()
        deadline = time.monotonic() + 5
        for process in self.processes:
            process.join(max(0.0, deadline - time.monotonic()))
        self.kill()

    def kill(self) -> None:
        """End every rank at once, with the processes that it started."""
        for process in self.processes:
            if process.exitcode == 0:
                continue
            if sys.platform != "win32":
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.kill()
        for process in self.processes:
            process.join()
        for pipe in self.pipes:
            pipe.close()


def _run_rank(
    rank: int,
    pipe: Connection,
    work: bytes,
    world_size: int,
    port: int,
    device: str,
    environment: dict[str, str],
) -> None:
    """Be one rank: run the work, send the result, stay until the parent lets go."""
    if sys.platform != "win32":
        os.setsid()  # Ctrl-C goes to the parent alone, which ends us
    os.environ.update(environment)
    finished, released = threading.Event(), threading.Event()
    turn = threading.Lock()

    def send(kind: str, content: Any) -> None:
        with turn, contextlib.suppress(OSError):
            pipe.send((kind, content))

    def listen() -> None:
        try:
            while pipe.recv() == "where":
                send("at", _stand())
        except (EOFError, OSError):
            pass
        if not finished.is_set():
            os._exit(1)
        released.set()

    threading.Thread(target=listen, daemon=True).start()
    try:
        function, args = pickle.loads(work)
        if interface := _loopback():
            os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
        _join(rank, world_size, device, TCPStore("127.0.0.1", port, is_master=False))
        result = function(*args)
        content = _dumps(result)
    except BaseException as error:
        finished.set()
        send("raised", _what_went_wrong(error))
        released.wait()
        os._exit(1)
    sys.stdout.flush()
    sys.stderr.flush()
    finished.set()
    send("returned", content)
    # A rank that left now would close its connections while others may still read.
    released.wait()
    if dist.is_initialized():
        dist.destroy_process_group()


def _join(rank: int, world_size: int, device: str, store: Store) -> None:
    """Initialise torch.distributed in this process."""
    torch.set_num_threads(1)
    if device == "cpu":
        backend = "gloo"
    else:
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", rank)))
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size)


def _run_in_place(
    function: Callable[..., Any], world_size: int, args: tuple[Any, ...], device: str
) -> list[Any]:
    """Run as the rank that torchrun made of this process."""
    started = int(os.environ["WORLD_SIZE"])
    if world_size != started:
        raise ValueError(
            f"world_size must be what torchrun started, {started}, got {world_size}"
        )
    if not dist.is_initialized():
        store, rank, _ = next(rendezvous("env://"))
        # torchrun keeps its store over restarts, and in it the addresses of dead ranks.
        restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        _join(rank, world_size, device, PrefixStore(f"restart {restart}", store))
    results: list[Any] = [None] * world_size
    dist.all_gather_object(results, function(*args))
    return results


def _loopback() -> str | None:
    """Return the interface that stays inside this machine, if there is one."""
    if sys.platform == "win32":
        return None
    names = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    return names[0] if names else None


def _dumps(content: Any) -> bytes:
    """Pickle by name where another process can look the name up, else by value."""
    main = sys.modules["__main__"]
    if getattr(main, "__file__", None) or getattr(main, "__spec__", None):
        with contextlib.suppress(pickle.PicklingError, AttributeError, TypeError):
            return pickle.dumps(content)
    try:
        import cloudpickle  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise RuntimeError(
            "a function of a notebook cell needs the package cloudpickle: "
            "pip install cloudpickle, or write the function to a module"
        ) from None
    return bytes(cloudpickle.dumps(content))


def _stand() -> str:
    """Return where the main thread of this rank is, innermost call last."""
    frame = sys._current_frames()[threading.main_thread().ident or 0]
    return "stands at\n" + "".join(traceback.format_stack(frame)[-4:])


def _what_went_wrong(error: BaseException) -> str:
    """Return the error, and its traceback from the launched function on."""
    inside = error.__traceback__.tb_next if error.__traceback__ else None
    text = "".join(traceback.format_exception(type(error), error, inside))
    return f"raised {type(error).__name__}: {error}\n\n{text}"
