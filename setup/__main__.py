"""`python -m setup` makes the checkout ready to work in, `python -m setup --repin` writes the checksums anew.

Every step looks first and does only what is missing, so that a second run is quick and an interrupted one heals.
"""

import sys
from pathlib import Path

from setup import prerequisites


def main(*, repin: bool) -> int:
    problem = prerequisites.find_python_problem()
    if problem:
        return complain(problem)

    # Only now: an older Python could not even read these.
    from setup import steps
    from tailrace.downloads.jars import find_java_problem
    from tailrace.downloads.pins import DownloadError

    problem = find_java_problem()
    if problem:
        return complain(problem)
    try:
        steps.run(Path.cwd(), write_sums=repin)
    except DownloadError as error:
        return complain(str(error))
    except OSError as error:
        return complain(f"{error}. Mend that and run `make setup` again.")
    except KeyboardInterrupt:
        return complain("interrupted. Run `make setup` again, it takes up where this one stopped.")
    print("Set-up is complete.")
    return 0


def complain(problem: str) -> int:
    print(f"setup: {problem}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(repin="--repin" in sys.argv[1:]))
