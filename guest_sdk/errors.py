"""What is a guest's author told when a guest cannot be built?"""

from __future__ import annotations


class AssemblyError(ValueError):
    """A guest that cannot be built: `reason`, and the source `line` where one is to blame."""

    def __init__(self, reason: str, line: str = "") -> None:
        super().__init__(f"{line.strip()!r}: {reason}" if line else reason)
        self.reason = reason
        self.line = line.strip()


class CompilerMissing(RuntimeError):
    """There is no compiler that can build a guest written in C; the text says how to get one."""


class CompilationError(RuntimeError):
    """The compiler refused: `output` is what it said, as it said it."""

    def __init__(self, command: str, status: int, output: str) -> None:
        super().__init__(f"{command} ended with {status}:\n{output}".rstrip())
        self.command = command
        self.status = status
        self.output = output

    def with_line(self, line: str) -> CompilationError:
        """The same refusal, with a line of ours after the compiler's own."""
        return CompilationError(self.command, self.status, f"{self.output.rstrip()}\n{line}")
