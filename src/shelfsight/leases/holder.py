"""Who holds a lease: this process, told apart from every other one on any machine; and is the holder still alive?"""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from pathlib import Path


def this_process() -> str:
    """Return the name of this process, such as `till-3/6f1c…/4026531836:4711`."""
    return f"{_machine()}:{os.getpid()}"


def is_dead(holder: str) -> bool:
    """Return whether the holder was a process of this machine that is no more; of other machines nobody can say."""
    machine, _, process = holder.rpartition(":")
    if sys.platform == "win32" or machine != _machine() or not process.isdigit():
        return False  # on Windows the look below would interrupt the process: its leases are waited for
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


@cache
def _machine() -> str:
    """Return what sets this machine, and this container on it, apart: since when it runs, whose processes it sees."""
    booted = namespace = "-"
    if Path("/proc/self/ns/pid").exists():
        booted = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    return f"{platform.node()}/{booted}/{namespace}"
