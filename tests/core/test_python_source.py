"""Source files are parsed by several threads at a time, as the flow of a release does."""

import ast
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fpenet.core import python_source
from fpenet.core.python_source import SOURCE_ROOT, parse_python

SOURCE = Path(python_source.__file__)


def test_one_file_is_parsed_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    parsing = threading.Semaphore(1)
    real, overlaps = ast.parse, []

    def parse(source: bytes) -> ast.Module:
        if not parsing.acquire(blocking=False):
            overlaps.append(source)
            return real(source)
        threading.Event().wait(0.01)
        parsing.release()
        return real(source)

    monkeypatch.setattr(ast, "parse", parse)
    with ThreadPoolExecutor(8) as pool:
        trees = list(pool.map(parse_python, [SOURCE] * 24))
    assert overlaps == []
    assert {ast.dump(tree) for tree in trees} == {ast.dump(real(SOURCE.read_bytes()))}


def test_a_file_is_parsed_again_where_a_thread_of_a_library_parsed_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, failures = ast.parse, [SystemError("AST constructor recursion depth mismatch")] * 2

    def parse(source: bytes) -> ast.Module:
        if failures:
            raise failures.pop()
        return real(source)

    monkeypatch.setattr(ast, "parse", parse)
    assert ast.dump(parse_python(SOURCE)) == ast.dump(real(SOURCE.read_bytes()))
    assert failures == []


def test_our_code_parses_nowhere_else() -> None:
    root = SOURCE_ROOT
    calls = [
        path.relative_to(root).as_posix()
        for path in sorted(root.rglob("*.py"))
        if "ast.parse(" in path.read_text("utf-8")
    ]
    assert calls == ["fpenet/core/python_source.py"]
