"""Launch: become one child of the local stack, bound to its parent's life, then run the program.

Run as `python -m services.local.launch --death-signal SIGINT --parent PID [--uid N] -- ...`.
A parent that dies by SIGKILL can clean nothing up, so the kernel signals the child (Linux only).
PostgreSQL refuses to run as root: with --uid the child becomes that user first, and keeps just the
right to pass folders that only root may enter (a clone below /root), for as long as it needs it.
"""

import argparse
import ctypes
import os
import signal
import sys
from pathlib import Path

CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_SECUREBITS, PR_CAP_AMBIENT = 1, 8, 28, 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Sets(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def _call(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what} failed")


def become(uid: int, *, pass_folders: bool) -> None:
    """Give up root for `uid` (also as the group), for good.

    `pass_folders` keeps CAP_DAC_OVERRIDE over the exec. SECBIT_NO_SETUID_FIXUP makes access(2)
    honour it too; PostgreSQL asks access(2) whether it may read its own binary.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if pass_folders:
        _call(libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0), "securebits")
        _call(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "keepcaps")
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    if pass_folders:
        mask = 1 << CAP_DAC_OVERRIDE
        header = _Header(CAPABILITY_VERSION_3, 0)
        sets = (_Sets * 2)(_Sets(mask, mask, mask), _Sets(0, 0, 0))
        _call(libc.capset(ctypes.byref(header), sets), "capset")
        raised = libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)
        _call(raised, "ambient capability")


def die_with_parent(death_signal: signal.Signals, parent: int) -> None:
    """Have the kernel send `death_signal` when the parent dies; stop now if it already has.

    After every change of user, because that clears the setting.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        _call(libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0), "parent death signal")
    if os.getppid() != parent:
        sys.exit("launch: the parent is gone")


def open_to_others(path: Path) -> bool:
    """Say whether any user may enter every folder above `path`."""
    return all(folder.stat().st_mode & 0o001 for folder in path.resolve().parents)


def main() -> None:
    """Read the command line, become the child, run the program in this process's place."""
    parser = argparse.ArgumentParser(prog="launch")
    parser.add_argument("--death-signal", type=lambda name: signal.Signals[name], required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--uid", type=int)
    parser.add_argument("program", nargs="+")
    args = parser.parse_args()
    if args.uid is not None:
        reachable = open_to_others(Path(args.program[0])) and open_to_others(Path.cwd() / "x")
        become(args.uid, pass_folders=not reachable)
    die_with_parent(args.death_signal, args.parent)
    os.execv(args.program[0], args.program)  # noqa: S606 -- this is what the module is for


if __name__ == "__main__":
    main()
