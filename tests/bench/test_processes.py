"""Processes of a benchmark end with it, and so does what they started."""

import subprocess
import sys

import psutil
import pytest

from tests.serving.processes import has_ended, until

BENCHMARK = """
import sys, time
from pathlib import Path
from bench import processes
processes.STOP_SECONDS = 1.0
child = "import subprocess, sys, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
with processes.ending_when_asked(), processes.process([sys.executable, '-c', child], log=Path(sys.argv[1])) as started:
    while not Path(sys.argv[1]).read_text().endswith('\\n'):
        time.sleep(0.02)
    print(started.pid, Path(sys.argv[1]).read_text(), flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_a_benchmark_that_is_told_to_end_leaves_no_process_behind(tmp_path):
    command = [sys.executable, "-c", BENCHMARK, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as benchmark:
        assert benchmark.stdout
        pids = [int(pid) for pid in benchmark.stdout.readline().split()]
        assert all(psutil.pid_exists(pid) for pid in pids)
        benchmark.terminate()

    assert benchmark.returncode == 128 + 15
    assert len(pids) == 2
    until(lambda: all(has_ended(pid) for pid in pids))
