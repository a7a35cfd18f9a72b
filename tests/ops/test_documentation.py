"""docs/operators.md has the schema of every operator, and a row that says what it does."""

import re
from pathlib import Path

import torch

from .operators import FORWARD_OPERATORS

PAGE = (Path(__file__).parents[2] / "docs/operators.md").read_text()


def test_schemas_are_those_of_the_operators():
    block = re.search(r"## Schemas\n\n```\n(.*?)```", PAGE, re.DOTALL).group(1)
    lines = re.sub(r"\n +", " ", block.strip()).splitlines()
    written = {str(torch._C.parse_schema(f"backmap::{line}")) for line in lines}
    assert written == {str(operator.call._schema) for operator in FORWARD_OPERATORS}


def test_every_operator_has_a_row():
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert rows == {operator.name for operator in FORWARD_OPERATORS}
