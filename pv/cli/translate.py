"""`pvkit translate`: a guest's kernel code beside what the translation cache has for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import typer

import bench.compare as harness
from bench.disks import workload_disks
from pv.cli.check import workload_names
from pv.cli.complaint import Complaint, check_engine
from pv.cli.run import check_budget, make_machine, read_image
from pv.cli.screen import mention, say
from pv.engines.base import GuestFault
from pv.loaders import LoadError
from pv.machine import Machine
from pv.memory import PAGE_SIZE

TECHNIQUE: Final = "translate"
CS: Final = 1
WELL: Final = "exited"


def translate(
    guest: Annotated[
        str,
        typer.Argument(metavar="GUEST", help="An ELF or flat image, or workload:NAME for one of compare's workloads."),
    ],
    at: Annotated[
        str | None, typer.Option(metavar="RIP", help="Only blocks with this address, or this symbol, in them.")
    ] = None,
    static: Annotated[
        bool, typer.Option("--static", help="Do not run the guest: translate from its entry, or from --at, on.")
    ] = False,
    blocks: Annotated[int, typer.Option(metavar="N", help="Most blocks to show.")] = 40,
    memory: Annotated[str, typer.Option(metavar="SIZE", help="Guest memory, such as 16MiB.")] = "16MiB",
    disk: Annotated[
        list[str] | None, typer.Option(metavar="FILE[:MODE]", help="A disk; repeatable. MODE: ro, rw, or cow.")
    ] = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="Most for the run.")] = 60.0,
    max_exits: Annotated[int | None, typer.Option(metavar="N", help="Most for the run.")] = None,
) -> None:
    """Show a guest's kernel code and its translation.

    The guest runs under technique translate, and what is then in the cache is shown; what it prints is not.
    """
    check_budget("--timeout", timeout)
    check_budget("--max-exits", max_exits)
    if blocks < 1:
        raise Complaint(f"--blocks {blocks} is not a number from 1 on")
    image, disks = read_job(guest, disk or [])
    check_engine()
    # Imported here: the other commands need no disassembler.
    from pv.report.translation import from_cache, listing

    machine = make_machine(memory=memory, console=unheard, technique=TECHNIQUE, disks=disks, plugins=False)
    with machine:
        try:
            machine.load(image)
        except LoadError as refused:
            raise Complaint(f"{guest}: {refused}") from refused
        vcpu: Any = machine.vcpu
        symbols = {} if machine.image is None else machine.image.symbols
        rip = None if at is None else address(at, symbols)
        if static:
            found = list(islice(translated(machine, vcpu.rip if rip is None else rip), blocks))
        else:
            outcome = machine.run(timeout=timeout, max_exits=max_exits)
            if outcome.why.value != WELL:
                mention(
                    f"pvkit: the run ended otherwise than by the guest: {outcome.why.value} {outcome.detail}".rstrip()
                )
            found = [block for block in from_cache(vcpu.translations()) if rip is None or block.covers(rip)]
            if not found:
                where = "" if rip is None else f" with {rip:#x} in it"
                raise Complaint(f"{guest} left no block{where} in the cache; --static translates without running")
        names = {value: name for name, value in symbols.items()}
        say("\n\n".join(listing(block, names) for block in found[:blocks]))
        if len(found) > blocks:
            mention(f"pvkit: {len(found) - blocks} more blocks; --blocks {len(found)} shows all, --at RIP one")


def unheard(_data: bytes) -> None:
    """What the guest prints would stand among the listings."""


def read_job(guest: str, disks: list[str]) -> tuple[bytes, list[str]]:
    """The image of a file or workload, and its disks. Raises Complaint, UnknownName, LoadError."""
    names = workload_names(guest)
    if not names:
        return read_image(Path(guest)), list(disks)
    module = harness.find_workload(names[0], "trap")
    return module.build(max(1, module.DEFAULT_OPERATIONS // 100)), [*disks, *workload_disks()]


def address(text: str, symbols: Mapping[str, int]) -> int:
    """A symbol of the guest's, or a number. Raises Complaint."""
    if text in symbols:
        return symbols[text]
    try:
        rip = int(text, 0)
    except ValueError:
        rip = -1
    if not 0 <= rip < 1 << 64:
        raise Complaint(f"--at {text!r} is neither an address, such as 0x100000, nor a symbol of this guest")
    return rip


def translated(machine: Machine, rip: int) -> Iterator[Any]:
    """Blocks from `rip` on, then those that they lead to, as a fresh translator makes them. Raises Complaint."""
    from pv.report.translation import Block
    from pv.translate.block import MOST, Translator

    vcpu = machine.vcpu
    translator = Translator(vcpu.virtual)
    waiting, known, cache = [rip], {rip}, 0
    while waiting:
        at = waiting.pop(0)
        source = code_at(vcpu, at)
        block = translator.translate(at, source, PAGE_SIZE, vcpu.selector(CS), False, MOST) if source else None
        if block is None or not block.source_bytes:
            if at == rip:
                raise Complaint(f"no instruction can be read at {rip:#x}: the guest maps nothing there before it runs")
            continue
        yield Block(at, source[: block.source_bytes], cache, block.code, block.map, block.links)
        cache += len(block.code)
        for _, target, _ in block.links:
            if target not in known:
                known.add(target)
                waiting.append(target)


def code_at(vcpu: Any, rip: int) -> bytes:
    """Guest memory from `rip` to the end of its page, and a little of the next if that is mapped."""
    code = b""
    for size in (PAGE_SIZE - rip % PAGE_SIZE, 15):
        try:
            code += vcpu.read_linear((rip + len(code)) & (1 << 64) - 1, size)
        except GuestFault:
            break
    return code
