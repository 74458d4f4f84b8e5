"""SECURITY.md names tests that are there."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
_NAMED = re.compile(r"`((?:tests|soak)/[\w/]+\.py)(?:::(\w+))?`")


def test_every_test_that_the_threat_model_names_is_there() -> None:
    named = _NAMED.findall((HERE / "SECURITY.md").read_text())

    assert len(named) > 30
    assert [f"{file}::{name}" for file, name in named if name and name not in _tests(HERE / file)] == []
    assert [file for file, _ in named if not (HERE / file).is_file()] == []


def _tests(file: Path) -> set[str]:
    found = ast.walk(ast.parse(file.read_text())) if file.is_file() else ()
    return {node.name for node in found if isinstance(node, ast.FunctionDef)}
