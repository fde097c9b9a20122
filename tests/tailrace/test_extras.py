"""What is said where an extra is missing."""

import re
import tomllib
from importlib.metadata import packages_distributions

import pytest

from tailrace.extras import EXTRAS, MissingExtra, explain_missing, require
from tailrace.settings import CHECKOUT

# Modules that come with a package of an extra rather than by being named there.
BROUGHT_BY = {"botocore": "boto3", "multidict": "aiohttp", "py4j": "pyspark"}
OF_AIRFLOW = {"pyspark-client"}  # has the modules of pyspark too; a message about them names the extra `spark`


def declared():
    """The distributions of each extra, those of the extras that it takes in too."""
    extras = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    def names(extra):
        for requirement in extras[extra]:
            own = re.fullmatch(r"tailrace\[(.*)\]", requirement)
            if own:
                for other in own[1].split(","):
                    yield from names(other)
            else:
                yield re.split(r"[^A-Za-z0-9-]", requirement)[0].lower()

    return {extra: set(names(extra)) for extra in extras}


def test_the_table_of_modules_names_every_extra_that_brings_them_and_no_other():
    extras, distributions = declared(), packages_distributions()

    for module, named in EXTRAS.items():
        own = distributions_of(module, distributions) - OF_AIRFLOW
        bringing = {extra for extra, names in extras.items() if names & own and extra not in {"all", "stream"}}
        assert set(named) == bringing, module


def test_every_package_of_an_extra_has_its_module_in_the_table():
    distributions = packages_distributions()

    known = set().union(*(distributions_of(module, distributions) for module in EXTRAS))

    # Airflow's own distribution only brings others, and one of those has its module.
    assert set().union(*declared().values()) - known == {"apache-airflow"}


def distributions_of(module, distributions):
    """The packages that bring a module, as `pyproject.toml` spells them."""
    return {BROUGHT_BY.get(module, "")} | {name.lower().replace("_", "-") for name in distributions[module]}


def test_all_holds_every_extra():
    extras = declared()

    assert extras["all"] == set().union(*extras.values())


@pytest.mark.parametrize(
    ("module", "extra", "named"),
    [
        ("pyspark", None, ["tailrace[spark]"]),
        ("aiohttp.web", "reader", ["tailrace[reader]"]),
        ("aiohttp", None, ["tailrace[client]", "tailrace[reader]"]),
        ("great_expectations", "spark", ["tailrace[quality]"]),
    ],
)
def test_a_missing_package_is_explained_by_its_extra(module, extra, named):
    with pytest.raises(MissingExtra) as raised, explain_missing(extra):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    assert re.findall(r"tailrace\[\w+\]", str(raised.value)) == named


def test_a_module_that_no_extra_brings_stays_the_error_that_it_was():
    with pytest.raises(ModuleNotFoundError) as raised, explain_missing("spark"):
        raise ModuleNotFoundError("No module named 'ours'", name="ours")

    assert not isinstance(raised.value, MissingExtra)


def test_what_is_installed_is_not_complained_of():
    require("airflow")
