"""AssemblyError names the line that is to blame."""

from guest_sdk import AssemblyError


def test_line_stands_in_the_message() -> None:
    error = AssemblyError("unknown", "  mov rax  ")
    assert str(error) == "'mov rax': unknown"
    assert (error.reason, error.line) == ("unknown", "mov rax")


def test_without_a_line() -> None:
    assert str(AssemblyError("no label")) == "no label"
