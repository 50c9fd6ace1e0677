"""What smolagents asks of its executors, as its own tests of them do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from smolagents import CodeAgent, FinalAnswerTool, Model
from smolagents.models import ChatMessage, MessageRole
from smolagents.utils import AgentError

from pyro_mcp.smolagents import PyroExecutor


@pytest.fixture(scope="module")
def executor() -> Iterator[PyroExecutor]:
    e = PyroExecutor()
    yield e
    e.cleanup()


def test_state_is_kept(executor: PyroExecutor) -> None:
    executor("x = 21\nprint('set')")
    out = executor("print('seen')\nx * 2")
    assert (out.output, out.logs, out.is_final_answer) == ("42", "seen\n", False)


def test_variables(executor: PyroExecutor) -> None:
    executor.send_variables({"number": 7, "text": "é", "several": [1, {"a": None}]})
    assert executor("(number, text, several)").output == "(7, 'é', [1, {'a': None}])"


def test_errors(executor: PyroExecutor) -> None:
    with pytest.raises(AgentError, match="ZeroDivisionError"):
        executor("print('before')\n1 / 0")
    with pytest.raises(AgentError, match="SyntaxError"):
        executor("def (")
    assert executor("1 + 1").output == "2"


@pytest.mark.parametrize("answer", ["'done'", "[1, 2, {'k': 'v'}]", "None", "b'\\x00\\xff'", "(1, {2})"])
def test_final_answer(executor: PyroExecutor, answer: str) -> None:
    executor.send_tools({"final_answer": FinalAnswerTool()})
    out = executor(f"print('log')\nfinal_answer({answer})")
    assert out.is_final_answer and out.output == eval(answer) and out.logs == "log\n"


def test_much_output(executor: PyroExecutor) -> None:
    assert len(executor("print('x' * 3_000_000)").logs) == 3_000_001


class Script(Model):  # type: ignore[misc]
    """A model that says what it was told to."""

    def generate(self, messages: object, **_: object) -> ChatMessage:
        self.turn = getattr(self, "turn", 0) + 1
        first = "import socket\nname = open('/etc/os-release').read()"
        code = first if self.turn == 1 else "final_answer(name.split('\"')[1])"
        return ChatMessage(role=MessageRole.ASSISTANT, content=f"Thought: go on\n<code>\n{code}\n</code>")


def test_an_agent() -> None:
    with CodeAgent(tools=[], model=Script(), executor=PyroExecutor(), verbosity_level=0) as agent:
        assert "Debian" in str(agent.run("What system is this?"))
