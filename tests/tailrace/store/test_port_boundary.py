"""DynamoDB's requests are spelled in one folder: whoever adds another store writes that folder again, and nothing else."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PRODUCT = ("tailrace", "jobs", "sinks", "serving", "dags", "bench", "features")
DYNAMODB = ROOT / "tailrace" / "store" / "dynamodb"
SPELLINGS = re.compile(
    r"\w+Expression\b|ExpressionAttribute\w+|TransactItems|RequestItems|TransactWriteItems"
    r"|(Batch)?(Get|Put|Update|Delete|Write)Items?\"|\"TableName\"|TableName=|ReturnValues|\"Scan\"|\"DescribeTable\""
    r"|\{\"(S|N|BOOL|SS)\": |\[\"(S|N|BOOL|SS)\"\]"
)


def spelled_in(file: Path) -> list[str]:
    return [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if SPELLINGS.search(line)
    ]


@pytest.mark.parametrize("folder", PRODUCT)
def test_requests_of_the_store_are_spelled_in_one_folder(folder):
    files = [file for file in (ROOT / folder).rglob("*.py") if not file.is_relative_to(DYNAMODB)]

    assert files
    assert [line for file in files for line in spelled_in(file)] == []


def test_the_folder_that_spells_them_is_seen_by_the_search():
    assert {file.stem for file in DYNAMODB.glob("*.py") if spelled_in(file)} >= {"conditional_writes", "control_item"}
