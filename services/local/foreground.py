"""Foreground: run a program that starts others (Kong: a shell, a script, nginx) as one child.

A signal reaches only the program that the supervisor started; this one passes it to all of them.
Run as `python -m services.local.foreground PROGRAM ...`, as the leader of its own group.
"""

import os
import signal
import subprocess
import sys

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


def main() -> None:
    """Run the program; end its whole process group when told to, and with it."""
    program = subprocess.Popen(sys.argv[1:])
    for number in ENDING:
        signal.signal(number, end_group)
    code = program.wait()
    end_group()
    sys.exit(code if code >= 0 else 128 - code)


def end_group(*_: object) -> None:
    """Send SIGTERM to everything in this process's group but itself."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(os.getpgrp(), signal.SIGTERM)


if __name__ == "__main__":
    main()
