"""The system calls that an answer needs, as a program for the kernel (seccomp).

A list of what is allowed, not of what is not: a call that nobody thought of fails
with "operation not permitted", and Python raises it as an ordinary error. What is
not here, on purpose: making a process (a thread is allowed), executing another
program, sockets, signals, tracing, mounts and namespaces, keys, shared memory, the
rights and times of files, raising limits.

libseccomp knows the numbers on every architecture; `pyseccomp` is its binding.
"""

import errno
import tempfile
from functools import cache

_ANY = """
    access alarm arch_prctl brk chdir clock_getres clock_gettime clock_nanosleep close
    close_range copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl
    epoll_pwait epoll_wait eventfd eventfd2 exit exit_group faccessat faccessat2
    fadvise64 fallocate fchdir fdatasync flock fstat fstatfs fsync ftruncate futex
    futex_waitv get_robust_list getcpu getcwd getdents getdents64 getegid geteuid getgid
    getgroups getitimer getpgid getpgrp getpid getppid getpriority getrandom getresgid
    getresuid getrlimit getrusage getsid gettid gettimeofday getuid link linkat lseek
    lstat madvise membarrier mincore mkdir mkdirat mmap mprotect mremap msync munmap
    nanosleep newfstatat open openat openat2 pause pipe pipe2 poll ppoll pread64 preadv
    preadv2 pselect6 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv
    rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending
    rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigtimedwait sched_get_priority_max
    sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
    sched_getscheduler sched_yield select sendfile set_robust_list set_tid_address
    setitimer sigaltstack stat statfs statx symlink symlinkat sysinfo time timer_create
    timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create
    timerfd_gettime timerfd_settime times truncate umask uname unlink unlinkat wait4
    waitid write writev
"""

_CLONE_THREAD = 0x10000
_FILE_CONTROL = (0, 1, 2, 3, 4, 5, 6, 7, 1030)  # copies, flags, locks: no owner
_DEVICE_CONTROL = (0x5401, 0x5413, 0x541B, 0x5450, 0x5451)  # is it a terminal, cloexec
_PROCESS_CONTROL = (15, 16, 0x53564D41)  # the names of threads and of memory


@cache
def program() -> bytes:
    """Return the filter in the kernel's form; empty if it cannot be built here."""
    try:
        import pyseccomp as seccomp
    except (ImportError, OSError, RuntimeError):  # no package, or no libseccomp
        return b""
    equal, masked = seccomp.EQ, seccomp.MASKED_EQ
    rules = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    for name in _ANY.split():
        _allow(seccomp, rules, name)
    # A thread shares its process; a fork does not. clone3 hides which in memory: "no
    # such call" makes the C library use clone.
    thread = seccomp.Arg(0, masked, _CLONE_THREAD, _CLONE_THREAD)
    _allow(seccomp, rules, "clone", thread)
    rules.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
    for name, position, values in (
        ("fcntl", 1, _FILE_CONTROL),
        ("ioctl", 1, _DEVICE_CONTROL),
        ("prctl", 0, _PROCESS_CONTROL),
        ("prlimit64", 2, (0,)),  # read a limit; a pointer here would set one
    ):
        for value in values:
            _allow(seccomp, rules, name, seccomp.Arg(position, equal, value))
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def _allow(seccomp: object, rules: object, name: str, *args: object) -> None:
    try:
        rules.add_rule(seccomp.ALLOW, name, *args)  # type: ignore[attr-defined]
    except OSError:  # an older libseccomp does not know this name: it stays forbidden
        return
