"""What a process gives up before it runs an answer: network, files, memory, time, processes.

On Linux, namespaces take the network and the file system away, where the kernel lets a process
have them; limits on resources do the rest, and all there is elsewhere.
"""

import ctypes
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

if sys.platform != "win32":
    import resource

NEW_MOUNTS, NEW_USER, NEW_NETWORK, NEW_PROCESSES = 0x20000, 0x10000000, 0x40000000, 0x20000000
NEW_IPC = 0x8000000  # shared memory and message queues of the old kind
READ_ONLY, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 32, 4096, 16384, 1 << 18
# What a mount may have; where there are users' namespaces it cannot be given up.
OPTIONS = {"nosuid": 2, "nodev": 4, "noexec": 8, "noatime": 1 << 10, "nodiratime": 1 << 11,
           "relatime": 1 << 21}  # fmt: skip
DIE_WITH_PARENT, NOT_DUMPABLE, NO_NEW_PRIVILEGES = 1, 4, 38
CAPABILITIES = 0x20080522  # the version of the kernel's call
FIRST_USER, USERS = 60_000, 5_000  # numbers that are nobody's
PROCESSES = 8  # and threads
PACKAGE = Path(__file__).parents[1]
CLONE = PACKAGE.parent  # or where packages are installed


class Limits(NamedTuple):
    """What an answer may use."""

    seconds: float = 20.0  # on the wall; of a processor as many
    memory: int = 2 << 30  # bytes beyond what the libraries have mapped
    scratch: int = 16 << 20  # bytes in its folder


def enter(limits: Limits, hidden: Sequence[str]) -> list[str]:
    """Give up what an answer does not need; what could not be given up, in words.

    Returns in a new process where there are namespaces: the one that called waits for its end, and
    ends then. `hidden`: folders that an answer must not read.
    """
    if sys.platform == "win32":
        return ["network", "files", "memory", "processes"]
    with suppress(OSError):  # it is so already
        os.setsid()  # away from the terminal, and from the judge's group of processes
    lacking = _isolate(limits, hidden) if sys.platform == "linux" else ["network", "files"]
    _limit(limits if "files" not in lacking else limits._replace(scratch=0))
    return lacking


def close_files_but(kept: int) -> None:
    """Close whatever is open but the standard streams and `kept`."""
    if sys.platform == "win32":
        return
    for name in os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd"):
        if int(name) > 2 and int(name) != kept:
            with suppress(OSError):  # that of the list itself
                os.close(int(name))


def _isolate(limits: Limits, hidden: Sequence[str]) -> list[str]:
    libc = ctypes.CDLL(None, use_errno=True)
    root, spaces = os.geteuid() == 0, NEW_MOUNTS | NEW_NETWORK | NEW_PROCESSES | NEW_IPC
    try:
        if not root:
            _in_a_child(lambda: _leave(libc, NEW_USER))  # tried where failing does no harm
        _leave(libc, spaces if root else spaces | NEW_USER)
    except OSError:
        return ["network", "files"]
    other = FIRST_USER + os.getpid() % USERS
    _go_on_in_a_child()  # only what is forked is in the new namespace of processes
    # The answer is not the namespace's first process: when that one ends, all others do; it ends
    # with the one above, and the answer cannot reach into it.
    libc.prctl(DIE_WITH_PARENT, signal.SIGKILL)
    _go_on_in_a_child(lambda: libc.prctl(NOT_DUMPABLE, 0))
    os.setsid()
    lacking = [] if _close_files(libc, limits, hidden) else ["files"]
    if root:  # limits on the number of processes do not hold for root
        os.setgroups([])
        os.setresgid(other, other, other)
        os.setresuid(other, other, other)
    else:
        libc.capset((ctypes.c_uint32 * 2)(CAPABILITIES, 0), (ctypes.c_uint32 * 6)())
    libc.prctl(DIE_WITH_PARENT, signal.SIGKILL)  # it is forgotten with a change of user
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    return lacking


def _leave(libc, spaces: int) -> None:
    """Into new namespaces. Raises `OSError` where a process may not have them."""
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(spaces) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    if spaces & NEW_USER:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        with suppress(OSError):
            Path("/proc/sys/user/max_user_namespaces").write_text("0")  # within this one
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # where memory ends, it goes first


def _in_a_child(action: Callable[[], None]) -> None:
    """Do it in a process that ends then. Raises `OSError` if it did."""
    child = os.fork()
    if not child:
        with suppress(OSError):
            action()
            os._exit(0)
        os._exit(1)
    if os.waitpid(child, 0)[1] != 0:
        raise OSError("it cannot be done here")


def _go_on_in_a_child(first: Callable[[], object] = lambda: None) -> None:
    """Fork; the process that called does what is `first`, waits for its child, and ends with it."""
    if child := os.fork():
        first()
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _close_files(libc, limits: Limits, hidden: Sequence[str]) -> bool:
    """Every file system read-only, the hidden folders empty, but for Python; a new, small /tmp.

    Whether all of that worked.
    """

    def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> bool:
        texts = [text.encode() or None for text in (source, target, kind, data)]
        return libc.mount(*texts[:3], flags, texts[3]) == 0

    done = mount("none", "/", "", RECURSIVE | PRIVATE)
    python = {os.path.realpath(path) for path in (sys.base_prefix, sys.prefix, PACKAGE)}
    course = [str(CLONE)] if (CLONE / "pyproject.toml").exists() else []  # its tests know answers
    # Sockets lie in /run and among temporary files: of desktops, of the judge.
    sockets = ["/run", "/var/tmp", tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", "/run")]
    home = os.path.expanduser("~")
    folders = map(os.path.realpath, ["/tmp", *sockets, home, *course, *hidden])
    for folder in dict.fromkeys(folders):
        if folder == "/" or not os.path.isdir(folder):  # what lies in a hidden folder is hidden
            continue
        kept = {path: os.open(path, os.O_PATH) for path in python if path.startswith(f"{folder}/")}
        size = limits.scratch if folder == "/tmp" else 1 << 20
        done &= mount("tmpfs", folder, "tmpfs", 0, f"size={size},mode=1777")
        for path, place in kept.items():
            os.makedirs(path)
            done &= mount(f"/proc/self/fd/{place}", path, "", BIND | RECURSIVE)
            os.close(place)
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    for line in reversed(mounts):  # of those on the same place, the one that is seen is the last
        point, options = line.split()[4].replace("\\040", " "), line.split()[5].split(",")
        if point != "/tmp":
            kept = sum(OPTIONS.get(option, 0) for option in options)
            ours = mount("", point, "", REMOUNT | BIND | READ_ONLY | kept)
            done &= ours or not os.access(point, os.W_OK)
    done &= mount("proc", "/proc", "proc", 0)  # of the new namespace: no other process is seen
    os.chdir("/tmp")
    return done


def limit_memory(most: int) -> None:
    """Let this process take so many bytes more than it has mapped; it may ask for more later."""
    if sys.platform == "linux":
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (_mapped() + most, hard))


def _mapped() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _limit(limits: Limits) -> None:
    seconds = int(limits.seconds) + 1
    wanted = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: limits.scratch,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 64,
    }
    if sys.platform == "linux":
        wanted |= {resource.RLIMIT_AS: _mapped() + limits.memory, resource.RLIMIT_NPROC: PROCESSES}
    for kind, most in wanted.items():
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
