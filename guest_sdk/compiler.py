"""Which compiler builds guests written in C? CC from the environment, else gcc, clang or cc, if it makes x86-64 code.

Only its driver is used: it compiles, assembles and links, so that no other tool has to be found.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from guest_sdk.errors import CompilerMissing

NAMES: Final = ("gcc", "clang", "cc")
TARGETS: Final = ("x86_64", "amd64")  # how the name of the target begins
CURE: Final = "install one (on Debian: apt-get install gcc), or name yours in CC"
ANSWERS_IN_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Compiler:
    """command: how it is started. version: its first line about itself. headers: its own folder of headers."""

    command: tuple[str, ...]
    version: str
    headers: str


def find_compiler(environment: Mapping[str, str] | None = None) -> Compiler:
    """The compiler of this machine. Raises CompilerMissing, with one line that says how to mend it."""
    given = os.environ if environment is None else environment
    path = given.get("PATH", os.defpath)
    if chosen := given.get("CC", "").strip():
        try:
            return _examine(tuple(shlex.split(chosen)), path)
        except (CompilerMissing, ValueError) as refused:
            raise CompilerMissing(f"CC is {chosen!r}, and {refused}; {CURE}") from refused
    refusals = []
    for name in NAMES:
        try:
            return _examine((name,), path)
        except CompilerMissing as refused:
            refusals.append(str(refused))
    raise CompilerMissing(f"guests in C need a C compiler: {'; '.join(refusals)}; {CURE}")


@lru_cache(maxsize=16)
def _examine(command: tuple[str, ...], path: str) -> Compiler:
    """The compiler that `command` starts. Raises CompilerMissing unless it is one for x86-64."""
    found = shutil.which(command[0], path=path)
    if found is None:
        raise CompilerMissing(f"there is no {command[0]}")
    command = (found, *command[1:])
    target = _ask(command, "-dumpmachine")
    if not target.startswith(TARGETS):
        raise CompilerMissing(f"{command[0]} makes code for {target or 'nothing that it names'}, not for x86-64")
    version = _ask(command, "--version").partition("\n")[0]
    return Compiler(command, version, _ask(command, "-print-file-name=include"))


def _ask(command: tuple[str, ...], question: str) -> str:
    """What the compiler prints. Raises CompilerMissing where it does not run."""
    try:
        done = subprocess.run(
            [*command, question],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWERS_IN_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CompilerMissing(f"{command[0]} does not run ({error})") from error
    if done.returncode:
        raise CompilerMissing(f"{shlex.join([*command, question])} ends with {done.returncode}")
    return done.stdout.strip()
