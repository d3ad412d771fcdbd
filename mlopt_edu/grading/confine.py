"""What the answer side gives up before it runs what nobody vouches for.

The warm process calls `enter` once and `fork` for each submission; the child calls
`confine` before it reads a byte of the submission. Each step only ever takes rights
away, and the kernel holds them from then on, whatever Python code does:

1. namespaces: the child is process 1 of its own tree. It can name no other process,
   and when it ends the kernel ends everything it started. Its disk is the read-only
   one of the sandbox with an empty `SCRATCH` of its own, its IPC objects are its own.
2. resource limits: memory, processor time, files, threads; never to be raised again.
3. no capability, and no way to gain one.
4. Landlock: files outside `readable` cannot be opened, nor any outside `writable`
   changed; no signal leaves the process (from ABI 6 on).
5. seccomp: system calls that no answer needs fail (`syscalls`): processes, sockets,
   signals, mounts, tracing, keys.

This file is loaded by path on the answer side and imports the standard library only.
"""

import contextlib
import ctypes
import os
import resource
import struct
from dataclasses import dataclass
from typing import NoReturn

SCRATCH = "/scratch"  # not /tmp, for Python itself may be installed below that
NOBODY = 65534  # the user that a grader run by root becomes

_NEWNS, _NEWUTS, _NEWIPC = 0x20000, 0x4000000, 0x8000000
_NEWUSER, _NEWPID = 0x10000000, 0x20000000
_MS_RDONLY, _MOUNT = 1, 2 | 4 | 8  # no set-user-id, no devices, no execution
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18
_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP = 4, 22, 24
_PR_SET_SECUREBITS, _PR_SET_NO_NEW_PRIVS = 28, 38
_LAST_CAPABILITY = 63  # more than any kernel has: the unknown ones are refused
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # on every architecture


@dataclass(frozen=True)
class Confinement:
    """What a submission's process may use; made by the grader, sent as JSON.

    Attributes:
        namespaces: Whether this is the inside of bubblewrap, where a process may make
            namespaces of its own.
        memory_mb: Address space beyond what the warm process has, in megabytes.
        cpu_seconds: Processor time.
        file_mb: Largest file, in megabytes.
        disk_mb: All files together, in megabytes; only with `namespaces`.
        open_files: File descriptors.
        threads: Threads and processes together; only with `namespaces`.
        landlock: Version of Landlock to use; 0 for none.
        readable: Files and folders whose content may be read.
        listable: Folders whose names may be read.
        writable: Files and folders that may be changed.
        seccomp: A program for the kernel in hexadecimal; "" for none.
    """

    namespaces: bool
    memory_mb: int
    cpu_seconds: int
    file_mb: int = 16
    disk_mb: int = 64
    open_files: int = 64
    threads: int = 64
    landlock: int = 0
    readable: tuple[str, ...] = ()
    listable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    seccomp: str = ""


class Confiner:
    """Applies one `Confinement` to each child of this process."""

    def __init__(self, to: Confinement) -> None:
        self._to = to
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._own_pids = -1
        self._statm = -1
        with contextlib.suppress(FileNotFoundError):  # not Linux: limits are absolute
            self._statm = os.open("/proc/self/statm", os.O_RDONLY)

    def enter(self) -> None:
        """Become the unprivileged first process of a tree, if there are namespaces."""
        if self._to.namespaces:
            self._enter_namespaces()
        if hasattr(self._libc, "prctl"):
            self._prctl(_PR_SET_NO_NEW_PRIVS, 1)
            with contextlib.suppress(OSError):  # who has no rights can drop none
                self._prctl(_PR_SET_SECUREBITS, 0b101111)  # root is nobody special
                for number in range(_LAST_CAPABILITY):
                    self._prctl(_PR_CAPBSET_DROP, number)

    def _enter_namespaces(self) -> None:
        os.close(self._statm)
        if os.getuid() == 0:  # bubblewrap was run by root, and kept just these rights
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            self._prctl(_PR_SET_DUMPABLE, 1)  # else /proc/self stays root's
        user, group = os.getuid(), os.getgid()
        self._call("unshare", _NEWUSER | _NEWPID | _NEWNS | _NEWIPC | _NEWUTS)
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        pid = os.fork()
        if pid:
            _end_like(pid)
        self._mount(None, "/", _MS_REC | _MS_PRIVATE, "")
        self._mount_scratch()  # torch looks for a folder for temporary files
        self._own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY)
        self._statm = os.open("/proc/self/statm", os.O_RDONLY)

    def fork(self) -> int:
        """Fork; the child is process 1 of a new tree if there are namespaces."""
        if not self._to.namespaces:
            return os.fork()
        self._call("unshare", _NEWPID)
        pid = -1
        try:
            pid = os.fork()
        finally:
            if pid:  # back to one's own tree: the next child gets a new one from there
                self._call("setns", self._own_pids, _NEWPID)
        return pid

    def confine(self) -> None:
        """Give up everything, in the child. Nothing may go wrong silently.

        Raises:
            OSError: If the kernel refuses a step.
        """
        to = self._to
        program = (os.pread(self._statm, 64, 0) if self._statm >= 0 else b"0").split()
        size = int(program[0]) * resource.getpagesize()
        # A signal to one's group crosses namespaces: leave that of the warm process.
        os.setsid()
        if to.namespaces:
            self._own_disk()
        self._limit(size + to.memory_mb * 2**20)
        if hasattr(self._libc, "capset"):
            self._drop_capabilities()
        if to.landlock:
            self._landlock()
        if to.seccomp:
            self._seccomp(bytes.fromhex(to.seccomp))

    def _own_disk(self) -> None:
        self._call("unshare", _NEWNS | _NEWIPC | _NEWUTS)
        self._mount_scratch()
        self._mount("tmpfs", "/proc", _MOUNT | _MS_RDONLY, "mode=0555")
        os.chdir(SCRATCH)

    def _mount_scratch(self) -> None:
        size = f"size={self._to.disk_mb}m,nr_inodes=1024,mode=0700"
        self._mount("tmpfs", SCRATCH, _MOUNT, size)

    def _limit(self, address_space: int) -> None:
        to = self._to
        limits = {
            resource.RLIMIT_AS: address_space,
            resource.RLIMIT_DATA: address_space,
            resource.RLIMIT_CPU: to.cpu_seconds,
            resource.RLIMIT_FSIZE: to.file_mb * 2**20,
            resource.RLIMIT_NOFILE: to.open_files,
            resource.RLIMIT_CORE: 0,
        }
        if to.namespaces:  # elsewhere it would count all that the user runs
            limits[resource.RLIMIT_NPROC] = to.threads
        for what, most in limits.items():
            # macOS knows some of these and refuses to set them.
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(what, (most, most))

    def _drop_capabilities(self) -> None:
        header = struct.pack("Ii", 0x20080522, 0)  # version 3, this process
        self._call("capset", header, bytes(24))

    def _landlock(self) -> None:
        """Restrict files, TCP and signals; see `linux/landlock.h`."""
        to, abi = self._to, self._to.landlock
        known = {1: 13, 2: 14, 3: 15, 4: 15}.get(abi, 16)  # rights on files
        every = (1 << known) - 1
        # execute, write, read a file, truncate, ioctl: what a file can have
        of_a_file = 0b1100_0000_0000_0111 & every
        attributes = struct.pack(
            "QQQ", every, 0b11 if abi >= 4 else 0, 0b11 if abi >= 6 else 0
        )
        ruleset = self._syscall(_CREATE_RULESET, attributes, len(attributes), 0)
        for paths, rights in (
            (to.readable, 0b1101),  # execute, read a file, read a folder
            (to.listable, 0b1000),
            (to.writable, every),
        ):
            for path in paths:
                own = rights if os.path.isdir(path) else rights & of_a_file
                opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
                rule = struct.pack("=Qi", own, opened)
                self._syscall(_ADD_RULE, ruleset, 1, rule, 0)
                os.close(opened)
        self._syscall(_RESTRICT_SELF, ruleset, 0)
        os.close(ruleset)

    def _seccomp(self, program: bytes) -> None:
        code = ctypes.create_string_buffer(program, len(program))
        filters = struct.pack("HP", len(program) // 8, ctypes.addressof(code))
        self._call("prctl", _PR_SET_SECCOMP, 2, filters, 0, 0)

    def _mount(self, kind: str | None, where: str, flags: int, data: str) -> None:
        name = kind.encode() if kind else None
        options = data.encode() if data else None
        self._call("mount", name, where.encode(), name, ctypes.c_ulong(flags), options)

    def _prctl(self, option: int, value: int) -> None:
        self._call("prctl", option, ctypes.c_ulong(value), 0, 0, 0)

    def _syscall(self, number: int, *args: object) -> int:
        wide = (ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args)
        return self._call("syscall", ctypes.c_long(number), *wide)

    def _call(self, name: str, *args: object) -> int:
        result: int = getattr(self._libc, name)(*args)
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{name}: {os.strerror(number)}")
        return result


def landlock_version() -> int:
    """Return the version of Landlock that this kernel has; 0 if it has none."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        version: int = libc.syscall(_CREATE_RULESET, None, ctypes.c_long(0), 1)
    except (AttributeError, OSError):  # no such function, or no such system
        return 0
    return max(0, version)


def _end_like(pid: int) -> NoReturn:
    """Wait for a child and end as it did."""
    _, status = os.waitpid(pid, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
