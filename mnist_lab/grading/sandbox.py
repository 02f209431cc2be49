"""What a process gives up before it runs an answer: network, files, memory, time, processes.

On Linux, namespaces take the network and the file system away, where the kernel lets a process
have them; limits on resources do the rest, and all there is elsewhere.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

if sys.platform != "win32":
    import resource

NEW_MOUNTS, NEW_USER, NEW_NETWORK, NEW_PROCESSES = 0x20000, 0x10000000, 0x40000000, 0x20000000
READ_ONLY, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 32, 4096, 16384, 1 << 18
DIE_WITH_PARENT, NO_NEW_PRIVILEGES = 1, 38
CAPABILITIES = 0x20080522  # the version of the kernel's call
FIRST_USER, USERS = 60_000, 5_000  # numbers that are nobody's
PROCESSES = 16
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
    lacking = _isolate(limits, hidden) if sys.platform == "linux" else ["network", "files"]
    _limit(limits if "files" not in lacking else limits._replace(scratch=0))
    return lacking


def _isolate(limits: Limits, hidden: Sequence[str]) -> list[str]:
    libc = ctypes.CDLL(None, use_errno=True)
    root, user, group = os.geteuid() == 0, os.geteuid(), os.getegid()
    spaces = NEW_MOUNTS | NEW_NETWORK | NEW_PROCESSES
    if libc.unshare(spaces | (0 if root else NEW_USER)) != 0:
        return ["network", "files"]
    if not root:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    other = FIRST_USER + os.getpid() % USERS
    child = os.fork()
    if child:  # only what is forked is in the new namespace of processes
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    libc.prctl(DIE_WITH_PARENT, signal.SIGKILL)
    lacking = [] if _close_files(libc, limits, hidden) else ["files"]
    if root:  # limits on the number of processes do not hold for root
        os.setgroups([])
        os.setresgid(other, other, other)
        os.setresuid(other, other, other)
        libc.prctl(DIE_WITH_PARENT, signal.SIGKILL)  # forgotten with the change of user
    else:
        libc.capset((ctypes.c_uint32 * 2)(CAPABILITIES, 0), (ctypes.c_uint32 * 6)())
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    return lacking


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
    home = os.path.expanduser("~")
    for folder in map(os.path.realpath, ["/tmp", home, *course, *hidden]):
        if folder == "/" or not os.path.isdir(folder):  # what lies in a hidden folder is hidden
            continue
        kept = {path: os.open(path, os.O_PATH) for path in python if path.startswith(f"{folder}/")}
        size = limits.scratch if folder == "/tmp" else 1 << 20
        done &= mount("tmpfs", folder, "tmpfs", 0, f"size={size},mode=1777")
        for path, place in kept.items():
            os.makedirs(path)
            done &= mount(f"/proc/self/fd/{place}", path, "", BIND | RECURSIVE)
            os.close(place)
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in {point.replace("\\040", " ") for point in points} - {"/tmp"}:
        ours = mount("", point, "", REMOUNT | BIND | READ_ONLY)
        done &= ours or not os.access(point, os.W_OK)
    done &= mount("proc", "/proc", "proc", 0)  # of the new namespace: no other process is seen
    os.chdir("/tmp")
    return done


def _limit(limits: Limits) -> None:
    mapped = 0
    with open("/proc/self/statm") if sys.platform == "linux" else open(os.devnull) as file:
        mapped = int((file.read().split() or ["0"])[0]) * resource.getpagesize()
    seconds = int(limits.seconds) + 1
    wanted = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: limits.scratch,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 64,
    }
    if sys.platform == "linux":
        wanted |= {resource.RLIMIT_AS: mapped + limits.memory, resource.RLIMIT_NPROC: PROCESSES}
    for kind, most in wanted.items():
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
