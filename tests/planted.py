"""`python -m tests.planted [WORD …]`: plant each bug of `planted.toml` in a copy of the tree, and see its test find it.

A test is worth what it finds. Every entry breaks one guard on purpose; the named test has to fail by what it asserts. The
tests of a file run unbroken at the end, so that one which always fails finds nothing. Words choose bugs by file, test or reason.

The bugs of a file of tests are planted in one process, which imports the tree anew for each, so that Spark starts once.
"""

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "tests" / "planted.toml"
PAGE = ROOT / "tests" / "PLANTED.md"
LEFT_OUT = shutil.ignore_patterns(".*", "var", "__pycache__")
SHARED = (".venv", ".tools")  # of which the copy has links
RUN_SECONDS, TEST_SECONDS = 3_600, 600  # for the bugs of a file of tests, and for one test, which a bug may make hang
# How a test fails where the bug is not found but cannot even be loaded.
NOT_A_FINDING = ("ImportError", "ModuleNotFoundError", "NameError", "SyntaxError", "IndentationError")
ENVIRONMENT = {
    # What is random is the same each time: of few histories not all find every bug.
    "PUBLISHER_SEED": "220395658",
    "DERIVED_SEED": "415",
    "HISTORY_SEED": "415",
    # Spark's workers would keep modules that they have imported.
    "JDK_JAVA_OPTIONS": "-Dspark.python.worker.reuse=false",
}

CUT_OFF = "Failed: Timeout"

FOUND, SURVIVED = "found", "SURVIVED"


@dataclass(frozen=True, kw_only=True)
class Bug:
    """One guard broken: `old` becomes `new` in `file`, which makes `test` fail; `breaks` says what would go wrong.

    `test` may be one case of many: `….py::test_name[case]`.
    """

    area: str
    breaks: str
    file: str
    old: str
    new: str
    test: str

    @property
    def test_file(self) -> str:
        return self.test.partition("::")[0]

    @property
    def function(self) -> str:
        return self.test.partition("::")[2].partition("[")[0]

    def said_in(self, failures: Mapping[str, str]) -> str | None:
        """What the test said when it failed; None where it did not."""
        return next((why for of, why in failures.items() if of == self.test or of.startswith(f"{self.test}[")), None)

    def problem_in(self, root: Path) -> str | None:
        """Why the bug cannot be planted in a tree; None where it can."""
        file = root / self.file
        count = file.read_text().count(self.old) if file.is_file() else 0
        if count != 1:
            return f"{self.file} has the text to break {count} times, not once: {self.old.strip()!r}"
        if self.function not in functions_in(root / self.test_file):
            return f"there is no test {self.test}"
        return None


@dataclass(frozen=True)
class Result:
    """What became of a planted bug, given by its number in the list; `why` tells what the test said."""

    number: int
    verdict: str
    why: str


def load_bugs() -> list[Bug]:
    return [Bug(**entry) for entry in tomllib.loads(SOURCE.read_text())["bug"]]


def functions_in(file: Path) -> set[str]:
    if not file.is_file():
        return set()
    return {node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)}


def page_of(bugs: Iterable[Bug]) -> str:
    """The list as `PLANTED.md` has it."""
    by_area: dict[str, list[Bug]] = defaultdict(list)
    for bug in bugs:
        by_area[bug.area].append(bug)
    lines = [
        "# Planted bugs",
        "",
        "Each of these breaks one guard of the product on purpose; the test beside it has to fail. `make soak` plants all of",
        "them in a copy of the tree, `.venv/bin/python -m tests.planted lease` those with a word. Written by",
        "`.venv/bin/python -m tests.planted --write` from [planted.toml](planted.toml), which has the exact text of each.",
        "The model of the publisher plants nine more in itself (`test_the_model_finds_each_guard_that_is_broken`).",
    ]
    for area, of_area in by_area.items():
        lines += ["", f"## {area}", "", "| what would go wrong | broken in | found by |", "|---|---|---|"]
        lines += [f"| {bug.breaks} | `{bug.file}` | `{bug.test_file}` {sentence(bug.function)} |" for bug in of_area]
    return "\n".join(lines) + "\n"


def sentence(function: str) -> str:
    return function.removeprefix("test_").replace("_", " ")


def copy_tree(target: Path) -> Path:
    """A copy of the tree, with the environment of this one."""
    tree = target / "tree"
    shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
    for name in SHARED:
        (tree / name).symlink_to(ROOT / name)
    return tree


class Failures:
    """A plugin of pytest: what went wrong, by the test it went wrong in; what was no test's fault has no name."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}
        self.count = 0

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.said[""] = f"{report.nodeid} could not be collected"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.count += report.when == "call"
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            why = " ".join(str(crash.message if crash else report.longrepr).split())
            self.said["" if report.when != "call" else report.nodeid] = why


def run_tests(tests: Sequence[str]) -> dict[str, str]:
    """Run tests of this tree as it is now; what each that failed said first, empty where all passed."""
    for name in [name for name, module in sys.modules.items() if name != "__main__" and is_of_tree(module)]:
        del sys.modules[name]
    failures = Failures()
    with redirect_stdout(StringIO()):
        pytest.main(["-q", "-p", "no:cacheprovider", f"--timeout={TEST_SECONDS}", *tests], plugins=[failures])
    return failures.said or ({} if failures.count else {"": "no test has run"})


def is_of_tree(module: ModuleType) -> bool:
    """Whether a module, or a folder that is one, lies in this tree."""
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    found = [Path(place) for place in places if place]
    return any(one.is_relative_to(ROOT) and not one.is_relative_to(ROOT / ".venv") for one in found)


def plant(bug: Bug) -> tuple[str, str]:
    """Break one guard in this tree, run its test, and mend the guard again; the verdict, and what the test said."""
    problem = bug.problem_in(ROOT)
    if problem:
        return SURVIVED, problem
    file = ROOT / bug.file
    right = file.read_text()
    write_anew(file, right.replace(bug.old, bug.new))
    try:
        said = run_tests([bug.test])
    finally:
        write_anew(file, right)
    why = bug.said_in(said)
    is_found = why is not None and not why.startswith(NOT_A_FINDING)
    return FOUND if is_found else SURVIVED, why or said.get("", "the test passed")


def write_anew(file: Path, text: str) -> None:
    """Write a file under a time of its own: Python tells a compiled file of another text by second and size."""
    later = file.stat().st_mtime + 1
    file.write_text(text)
    os.utime(file, (later, later))


def plant_here(numbers: Sequence[int]) -> Iterator[Result]:
    """Plant bugs of one file of tests in this tree, which is a copy.

    A test that was cut off may leave its connection to Spark in the midst of an answer: then only its bug has a result,
    and the others are to be planted in another process.
    """
    bugs, planted = load_bugs(), {}
    for number in numbers:
        verdict, why = planted[number] = plant(bugs[number])
        if why.startswith(CUT_OFF):
            yield Result(number, verdict, why)
            return
    unbroken = run_tests(sorted({bugs[number].test for number in numbers}))
    for number, (verdict, why) in planted.items():
        said = bugs[number].said_in(unbroken) or unbroken.get("")
        yield Result(number, SURVIVED, f"it fails unbroken: {said}") if said else Result(number, verdict, why)


def plant_in_copies(numbers: Iterable[int]) -> Iterator[Result]:
    """Plant bugs in a copy of the tree, in a process for each file of tests."""
    bugs, by_file = load_bugs(), defaultdict(list)
    for number in numbers:
        by_file[bugs[number].test_file].append(number)
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        tree = copy_tree(Path(folder))
        for of_file in by_file.values():
            yield from results_of_file(tree, of_file)


def results_of_file(tree: Path, numbers: Iterable[int]) -> Iterator[Result]:
    """Plant bugs of one file of tests in as few processes as do."""
    left = list(numbers)
    while left:
        for result in results_of_process(tree, left):
            left.remove(result.number)
            yield result


def results_of_process(tree: Path, numbers: Sequence[int]) -> list[Result]:
    """Plant bugs in a process of their own; the first has a result at least."""
    command = [sys.executable, "-m", "tests.planted", "--here", *map(str, numbers)]
    environment = os.environ | ENVIRONMENT | {"PYTHONPATH": str(tree)}
    ended = subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, timeout=RUN_SECONDS, check=False, text=True
    )
    found = [one for one in map(result_in, ended.stdout.splitlines()) if one]
    return found or [Result(numbers[0], SURVIVED, f"no verdict: {ended.stderr.strip()[-300:]}")]


def result_in(line: str) -> Result | None:
    """A result as a process for a file of tests prints it; None for a line of something else."""
    return Result(*json.loads(line.removeprefix(MARK))) if line.startswith(MARK) else None


MARK = "planted: "


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.planted", description="Plant bugs and see tests find them.")
    parser.add_argument("words", nargs="*", help="plant those with one of these words in file, test or reason")
    parser.add_argument("--write", action="store_true", help="write tests/PLANTED.md, and plant nothing")
    parser.add_argument("--here", action="store_true", help="plant these numbers in this tree, which has to be a copy")
    options = parser.parse_args()
    bugs = load_bugs()
    if options.write:
        PAGE.write_text(page_of(bugs))
        return 0
    if options.here:
        for one in plant_here([int(word) for word in options.words]):
            sys.stdout.write(f"{MARK}{json.dumps([one.number, one.verdict, one.why])}\n")
            sys.stdout.flush()
        return 0
    is_chosen = [not options.words or any(word in str(bug) for word in options.words) for bug in bugs]
    chosen = [number for number, chosen in enumerate(is_chosen) if chosen]
    return report(bugs, chosen)


def report(bugs: Sequence[Bug], chosen: Sequence[int]) -> int:
    """Plant bugs and print what becomes of each; 1 where one survived or there was none."""
    survived = 0
    for result in plant_in_copies(chosen):
        bug = bugs[result.number]
        survived += result.verdict != FOUND
        sys.stdout.write(f"{result.verdict:8}  {bug.file}: {bug.breaks}\n          {result.why[:160]}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{len(chosen) - survived} of {len(chosen)} planted bugs were found\n")
    return 1 if survived or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
