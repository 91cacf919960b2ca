"""A process that runs what a test says, piece by piece: a client keeps its state between them, and has its own import.

As a program it reads one JSON text of code per line, and writes ``{"value": ...}`` or ``{"error": [type, text]}`` for
each.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import selectors
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SECONDS = 60.0


class SaidError(Exception):
    """What was said has raised.

    :ivar kind: name of the exception's class.
    :ivar text: what it says.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text


class Console:
    """A process that runs code."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def say(self, code: str, seconds: float = SECONDS) -> Any:
        """Run code and return the value of its last expression, as JSON makes it.

        :raises SaidError: if it raises.
        :raises TimeoutError: if it takes longer.
        """
        self.begin(code)
        return self.end(seconds)

    def begin(self, code: str) -> None:
        """Begin to run code."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(textwrap.dedent(code)) + "\n")
        self._process.stdin.flush()

    def end(self, seconds: float = SECONDS) -> Any:
        """Wait for what was begun; as :meth:`say`."""
        stdout = self._process.stdout
        assert stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                raise TimeoutError(f"no answer within {seconds:g} s")
        line = stdout.readline()
        if not line:
            raise EOFError(f"the process has ended with {self._process.wait()}")
        said = json.loads(line)
        if "error" in said:
            raise SaidError(*said["error"])
        return said["value"]

    def leave(self) -> int:
        """Let the process end as a program that is through, and return its exit code."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._process.wait(SECONDS)

    def kill(self) -> None:
        """End the process by SIGKILL."""
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def console(environment: Mapping[str, str], python: str | Path = sys.executable) -> Iterator[Console]:
    """Run a console in an environment until the block ends."""
    process = subprocess.Popen(
        [os.fspath(python), __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=dict(environment),
        text=True,
    )
    try:
        yield Console(process)
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def main() -> None:
    """Run what comes in by standard input; what the code prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    namespace: dict[str, Any] = {}
    for line in sys.stdin:
        try:
            answer = {"value": _run(json.loads(line), namespace)}
            text = json.dumps(answer, default=str)
        except BaseException as error:
            text = json.dumps({"error": [type(error).__name__, str(error)]})
        answers.write(text + "\n")
        answers.flush()


def _run(code: str, namespace: dict[str, Any]) -> Any:
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<said>", "exec"), namespace)
    return eval(compile(ast.Expression(last.value), "<said>", "eval"), namespace) if last is not None else None


if __name__ == "__main__":
    main()
