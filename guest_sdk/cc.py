"""How does C become a guest? The machine's compiler, freestanding, with our start code, linker script and library.

    from guest_sdk import cc
    elf = cc.build(["main.c"])

The library is compiled once for a compiler and kept in the cache; a guest takes of it what it uses. Its flags:
no red zone, since events come in on the guest's own stack; x86-64 with SSE2, which is what the engine runs (AVX is
refused: see target.h); fixed addresses below 2 GiB; no stack protector, since there is no thread-local canary.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from guest_sdk import abi, cache
from guest_sdk.calls import NamedCall, as_call
from guest_sdk.compiler import Compiler, find_compiler
from guest_sdk.constants import NO_FEATURES
from guest_sdk.errors import AssemblyError, CompilationError
from guest_sdk.headers import c_header
from guest_sdk.sections import PAGE
from guest_sdk.stubs import WRITES, calls_header

HERE: Final = Path(__file__).parent
LIBRARY: Final = HERE / "c" / "src"
SCRIPT: Final = LIBRARY / "guest.ld"
HEADERS: Final = (HERE / "c" / "include", HERE / "include")
TARGET: Final = HEADERS[0] / "pvkit" / "target.h"
SOURCES: Final = (".c", ".S", ".s", ".o", ".a")
SEARCH_PATHS: Final = ("CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH")  # the host's, which -nostdinc and -nostdlib let in
STACK_BYTES: Final = 64 << 10
STACK_MOST: Final = 1 << 30

MACHINE: Final = (
    *("-m64", "-march=x86-64", "-mcmodel=small", "-mno-red-zone", "-fno-pie"),
    *("-ffreestanding", "-fno-stack-protector", "-fcf-protection=none", "-fno-asynchronous-unwind-tables"),
)
LANGUAGE: Final = ("-std=gnu11", "-O2", "-g", "-Wall", "-Wextra")
OWN: Final = ("-ffunction-sections", "-fdata-sections")  # of the library and of plugins: what is not used is left out
LINK: Final = (
    *("-nostdlib", "-static", "-no-pie", "-Wl,--gc-sections", "-Wl,--build-id=none"),
    *("-Wl,-z,max-page-size=4096", "-Wl,-z,noexecstack", f"-Wl,--defsym=pvkit_load_first={abi.LOAD_FIRST:#x}"),
)


@dataclass(frozen=True, slots=True)
class Part:
    """What a plugin brings for guests in C. include: a folder of headers. sources: compiled into every guest."""

    name: str
    include: Path | None = None
    sources: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A compiler, the folder of one build, and whoever is shown its commands and warnings."""

    compiler: Compiler
    folder: Path
    show: Callable[[str], object]
    warn: Callable[[str], object]

    def run(self, *arguments: str) -> None:
        """Start the compiler. Raises CompilationError where it refuses."""
        command = [*self.compiler.command, *arguments]
        self.show(shlex.join(command))
        environment = {name: value for name, value in os.environ.items() if name not in SEARCH_PATHS}
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise CompilationError(command[0], done.returncode, done.stderr or done.stdout)
        if done.stderr:
            self.warn(done.stderr.rstrip("\n"))

    def flags(self, before: Iterable[Path] = (), after: Iterable[Path] = ()) -> list[str]:
        """The flags of every source: headers of `before`, our own, of `after`, the compiler's, and nobody else's."""
        ours = [f"-I{folder}" for folder in (*before, *HEADERS, *after)]
        same = f"-ffile-prefix-map={self.folder}=build"  # so that the same source is the same guest
        headers = ["-nostdinc", *ours, "-isystem", self.compiler.headers, "-include", str(TARGET)]
        return [*MACHINE, *LANGUAGE, same, *headers]

    def join(self, name: str, sources: Sequence[Path], flags: Sequence[str]) -> Path:
        """One object of all `sources`, of which a guest takes what it uses."""
        objects = [self.folder / f"{name}-{number}.o" for number in range(len(sources))]
        for source, made in zip(sources, objects, strict=True):
            self.run(*flags, *OWN, "-c", str(source), "-o", str(made))
        joined = self.folder / f"{name}.o"
        self.run("-m64", "-nostdlib", "-no-pie", "-r", *map(str, objects), "-o", str(joined))
        return joined


def nobody(_: str) -> None:
    """Shown to nobody."""


def build(
    sources: Iterable[str | Path],
    *,
    include: Iterable[str | Path] = (),
    define: Iterable[str] = (),
    flags: Iterable[str] = (),
    stack_bytes: int = STACK_BYTES,
    calls: Iterable[NamedCall] = (),
    writes: Mapping[str, Collection[str]] | None = None,
    features: Mapping[str, int] = NO_FEATURES,
    parts: Iterable[Part] = (),
    show: Callable[[str], object] = nobody,
    warn: Callable[[str], object] = nobody,
    keep: Path | None = None,
) -> bytes:
    """The ELF of C and assembler `sources` (objects and archives as well).

    include, define: as -I and -D. flags: further ones, of the sources alone. calls: hypercalls beside the built-in
    ones, with writes as stubs.calls_header takes it; features: plugins' own bits by name. show: gets each command;
    warn: what the compiler says all the same. keep: a folder for what is made on the way.

    Raises AssemblyError for what cannot be a guest, CompilerMissing, CompilationError, OSError.
    """
    files = check_sources(sources)
    macros = check_macros(define)
    check_stack(stack_bytes)
    parts = tuple(parts)
    compiler = find_compiler()
    with work_folder(keep) as folder:
        tools = Toolchain(compiler, folder, show, warn)
        for name, text in live_headers(tuple(calls), writes or {}, features).items():
            (folder / name).write_text(text, encoding="utf-8")
        objects = [library(tools), *(build_part(tools, part, parts) for part in parts if part.sources)]
        guest = folder / "guest.elf"
        tools.run(
            *tools.flags([*map(Path, include), folder], headers_of(parts)),
            *(f"-D{macro}" for macro in macros),
            *flags,
            *files,
            *map(str, objects),
            *LINK,
            "-T",
            str(SCRIPT),
            f"-Wl,--defsym=pvkit_stack_bytes={stack_bytes:#x}",
            "-o",
            str(guest),
        )
        return guest.read_bytes()


def headers_of(parts: Iterable[Part]) -> list[Path]:
    """The folders of headers that plugins bring."""
    return [part.include for part in parts if part.include]


def build_part(tools: Toolchain, part: Part, parts: Sequence[Part]) -> Path:
    """The object of a plugin's sources, which see its own headers before those of the others.

    Raises CompilationError, which says whose they are: they stand in the way of every guest.
    """
    others = [other for other in parts if other is not part]
    try:
        return tools.join(f"plugin-{part.name}", part.sources, tools.flags([tools.folder], headers_of([part, *others])))
    except CompilationError as refused:
        raise refused.with_line(
            f"pvkit: this is C of the plugin {part.name!r}, not yours; --no-plugin {part.name} builds without it"
        ) from refused


def live_headers(
    calls: Iterable[NamedCall], writes: Mapping[str, Collection[str]], features: Mapping[str, int]
) -> dict[str, str]:
    """The generated headers by name, with the built-in calls and `calls`: they stand before the committed copies."""
    table = {call.name: as_call(call) for call in (*abi.CALLS, *calls)}.values()
    return {
        "pvkit_abi.h": c_header(table, features),
        "pvkit_calls.h": calls_header(table, {**writes, **WRITES}),
    }


def library(tools: Toolchain) -> Path:
    """The guest library as one object: from the cache, where this very source was compiled by this compiler before."""
    sources = sorted(path for path in LIBRARY.iterdir() if path.suffix in SOURCES)
    headers = sorted(path for folder in HEADERS for path in folder.rglob("*.h"))
    flags = tools.flags()
    content = [
        repr((tools.compiler, MACHINE, LANGUAGE, OWN)),
        *(path.read_text(encoding="utf-8") for path in (*sources, *headers)),
    ]
    name = cache.key("\0".join(content))
    made = cache.load(name)
    if made is None:
        made = tools.join("library", sources, flags).read_bytes()
        cache.store(name, made)
    kept = tools.folder / "library.o"
    kept.write_bytes(made)
    return kept


def check_sources(sources: Iterable[str | Path]) -> list[str]:
    """The sources, as arguments. Raises AssemblyError for none, for one that is not there, and for what is no C."""
    files = [Path(source) for source in sources]
    if not files:
        raise AssemblyError("no source: a guest in C is built from at least one file")
    for file in files:
        if file.is_dir():
            raise AssemblyError(f"{file} is a directory; name the sources in it")
        if file.suffix not in SOURCES:
            raise AssemblyError(f"{file}: a guest is built from {', '.join(SOURCES)}")
        if not file.is_file():
            raise AssemblyError(f"{file}: no such file")
    return [f"./{file}" if str(file)[0] in "-@" else str(file) for file in files]  # no option, no list of arguments


def check_macros(define: Iterable[str]) -> list[str]:
    """The macros. Raises AssemblyError for one of no name: a bare -D would take the next argument."""
    macros = list(define)
    for macro in macros:
        if not macro.partition("=")[0].strip():
            raise AssemblyError(f"macro {macro!r} has no name; write NAME or NAME=VALUE")
    return macros


def check_stack(stack_bytes: int) -> None:
    """Raises AssemblyError for a stack that is no pages."""
    if not PAGE <= stack_bytes <= STACK_MOST or stack_bytes % PAGE:
        raise AssemblyError(f"a stack of {stack_bytes} bytes is not of whole pages of {PAGE}, up to 1GiB; such as 64K")


@contextmanager
def work_folder(keep: Path | None) -> Iterator[Path]:
    """`keep`, or a folder for the time being."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="pvkit-") as folder:
        yield Path(folder)
