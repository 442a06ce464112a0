"""AssemblyError names the line that is to blame."""

from guest_sdk import AssemblyError
from guest_sdk.errors import CompilationError


def test_line_stands_in_the_message() -> None:
    error = AssemblyError("unknown", "  mov rax  ")
    assert str(error) == "'mov rax': unknown"
    assert (error.reason, error.line) == ("unknown", "mov rax")


def test_without_a_line() -> None:
    assert str(AssemblyError("no label")) == "no label"


def test_a_line_of_ours_follows_the_compilers() -> None:
    error = CompilationError("gcc", 1, "main.c: error\n").with_line("ours")
    assert (error.output, str(error)) == ("main.c: error\nours", "gcc ended with 1:\nmain.c: error\nours")
