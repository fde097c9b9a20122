"""Whether processes that others started have ended.

One whose code nobody has taken has: the first process of a container may never take the codes of those that were left to it.
"""

import time

import psutil

LOOK_SECONDS = 0.02


def runs(pid: int) -> bool:
    """Whether a process of this id goes on."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ends(process: psutil.Process, *, within: float) -> bool:
    """Wait until a process has ended; False where it has not within so many seconds."""
    deadline = time.monotonic() + within
    while process.is_running() and runs(process.pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_SECONDS)
    return True
