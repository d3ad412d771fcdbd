"""What the guides tell people to type exists."""

import re
import shlex
from pathlib import Path

import pytest

from mlopt_edu.cli import _parser
from mlopt_edu.grading.gradebook import read_policies
from mlopt_edu.grading.hidden_faults import check_hidden

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(kind: str) -> list[str]:
    texts = [path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))]
    return [
        text for page in texts for found, text in BLOCK.findall(page) if found == kind
    ]


def commands() -> list[str]:
    lines = "\n".join(blocks("sh")).splitlines()
    return [line for line in lines if line.startswith("mlopt ")]


@pytest.mark.parametrize("line", commands())
def test_a_command_is_understood(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    options = _parser()[0].parse_args(words)
    assert callable(options.run)


def test_the_policies_are_read(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    path = tmp_path / "policies.toml"
    path.write_text(text, encoding="utf-8")
    policies = read_policies(path)
    assert list(policies.by_exercise) == ["01_gradient_descent"]


def test_the_hidden_cases_hold(tmp_path: Path) -> None:
    (text,) = blocks("python")
    (tmp_path / "seed.txt").write_text("a phrase that is long enough", "utf-8")
    (tmp_path / "gradient_descent.py").write_text(text, encoding="utf-8")
    assert check_hidden(tmp_path) == []
