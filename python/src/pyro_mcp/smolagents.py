"""An executor for smolagents: CodeAgent(…, executor=PyroExecutor()). The agent's Python runs in a task, and keeps its variables."""

from __future__ import annotations

import ast
import json
from typing import Any

from smolagents.local_python_executor import CodeOutput
from smolagents.monitoring import AgentLogger, LogLevel
from smolagents.remote_executors import RemotePythonExecutor
from smolagents.utils import AgentError

from ._client import Pyro

WAIT_MS = 10_000

# What smolagents' tool for the final answer names as its requirements, and does without if they are not there.
OPTIONAL = ["numpy", "PIL", "pillow"]

# What runs in the task: a line names a file of code, the answer is one line of JSON.
INTERPRETER = r'''
import ast, contextlib, io, json, sys, traceback
names = {"__name__": "__main__"}
for line in sys.stdin:
    answer = {"result": None, "error": None}
    logs = io.StringIO()
    try:
        with open(line.strip(), encoding="utf-8") as file:
            tree = ast.parse(file.read(), "<agent>")
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        with contextlib.redirect_stdout(logs), contextlib.redirect_stderr(logs):
            exec(compile(tree, "<agent>", "exec"), names)
            if last is not None:
                value = eval(compile(ast.Expression(last.value), "<agent>", "eval"), names)
                answer["result"] = None if value is None else str(value)
    except BaseException as e:
        answer["error"] = [type(e).__name__, str(e), traceback.format_exc()]
    answer["logs"] = logs.getvalue()
    with open("/tmp/.pyro-answer", "w", encoding="utf-8") as file:
        json.dump(answer, file)
    print("answered", flush=True)
'''


class PyroExecutor(RemotePythonExecutor):
    """A Python interpreter in a task. cleanup(), which an agent calls at its end, deletes the task."""

    def __init__(
        self, additional_imports: list[str] | None = None, logger: AgentLogger | None = None, *, allow_pickle: bool = False,
        environment: str = "debian:12", pyro: Pyro | None = None, **options: Any,
    ) -> None:
        """Create the task. options are those of create_task; packages can be installed if they allow a network."""
        super().__init__(additional_imports or [], logger or AgentLogger(level=LogLevel.ERROR), allow_pickle)
        self._own = None if pyro else Pyro()
        self._pyro = pyro or self._own or Pyro()
        self._task: str | None = None
        self._lenient = False
        options.setdefault("ttl_seconds", 3600)
        try:
            self._task = self._pyro.create_task(environment, **options)["task_id"]
            self._pyro.write_file(self._task, path="/tmp/.pyro-interpreter", content=INTERPRETER, mode="0644")
            self._pyro.write_file(self._task, path="/tmp/.pyro-code", content="", mode="0644")
            self._command = self._pyro.start(self._task, "exec python3 -u /tmp/.pyro-interpreter", input=True)
            self._cursor = 0
            self.installed_packages = [*OPTIONAL, *self.install_packages(additional_imports or [])]
        except BaseException:
            self.cleanup()
            raise

    def send_tools(self, tools: dict[str, Any]) -> None:
        """Define tools in the interpreter. What they import and the task lacks fails when it is used, not before."""
        self._lenient = True
        try:
            super().send_tools(tools)
        finally:
            self._lenient = False

    def run_code_raise_errors(self, code: str) -> CodeOutput:
        """Run code, and raise AgentError for what goes wrong in it."""
        answer = self._ask(_lenient(code) if self._lenient else code)
        logs: str = answer["logs"]
        if answer["error"] is None:
            return CodeOutput(output=answer["result"], logs=logs, is_final_answer=False)
        name, value, trace = answer["error"]
        if name == RemotePythonExecutor.FINAL_ANSWER_EXCEPTION:
            final = self._deserialize_final_answer(value, self.allow_pickle)
            return CodeOutput(output=final, logs=logs, is_final_answer=True)
        raise AgentError(f"{logs}\nExecuting code yielded an error:\n{name}\n{value}\n{trace}", self.logger)

    def install_packages(self, additional_imports: list[str]) -> list[str]:
        """Install packages with pip, which the environment must have, and a network to get them by."""
        if additional_imports and self._task:
            result = self._pyro.exec_task(
                self._task, command=["python3", "-m", "pip", "install", "--quiet", *additional_imports], timeout_seconds=900)
            if result["exit_code"] != 0:
                raise AgentError(f"cannot install {', '.join(additional_imports)}: {result['stderr'].strip()}", self.logger)
        return additional_imports

    def cleanup(self) -> None:
        """Delete the task."""
        task, self._task = self._task, None
        try:
            if task:
                self._pyro.delete_task(task)
        finally:
            if self._own:
                self._own.close()

    def _ask(self, code: str) -> dict[str, Any]:
        if self._task is None:
            raise AgentError("the executor is closed", self.logger)
        self._pyro.write_file(self._task, path="/tmp/.pyro-code", content=code, mode="0644")
        self._command.write("/tmp/.pyro-code\n")
        while True:
            piece = self._pyro.read_command(
                self._task, command_id=self._command.command_id, cursor=self._cursor, wait_ms=WAIT_MS)
            self._cursor = piece["cursor"]
            if "answered" in piece["output"]:
                break
            if piece["ended_at"] is not None:
                raise AgentError(f"the interpreter ended: {piece['output'].strip()}", self.logger)
        result: dict[str, Any] = json.loads(self._whole("/tmp/.pyro-answer"))
        return result

    def _whole(self, path: str) -> str:
        assert self._task
        data = bytearray()
        self._pyro.exec_task(self._task, command=["cat", path], timeout_seconds=0, on_stdout=data.extend)
        return data.decode()


def _lenient(code: str) -> str:
    """Let the imports at the top of code fail."""
    tree = ast.parse(code)
    handler = ast.ExceptHandler(ast.Name("ImportError", ast.Load()), None, [ast.Pass()])
    tree.body = [
        ast.Try([node], [handler], [], []) if isinstance(node, (ast.Import, ast.ImportFrom)) else node for node in tree.body
    ]
    return ast.unparse(ast.fix_missing_locations(tree))
