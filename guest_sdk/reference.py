"""What does the reference page of the hypercall ABI say? Generated from abi.py, so that it cannot drift.

`python -m guest_sdk.reference` rewrites docs/abi.md; a test holds the committed page equal to what is generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from guest_sdk import abi

PAGE = Path(__file__).parent.parent / "docs" / "abi.md"

INTRODUCTION = f"""# The hypercall ABI, version {abi.VERSION}

Generated from [guest_sdk/abi.py](../guest_sdk/abi.py) by `python -m guest_sdk.reference`. The live registry, plugins
included, is what `pvkit hypercalls list` prints, and `pvkit hypercalls show NAME` says more of one call.

- **Trap**: call the hypercall page, or execute VMCALL (VMMCALL does as well) where feature bit
  {abi.FEATURES["inline_vmcall"]} is set. The guest gives the page: it writes `gpa | 1` to MSR
  {abi.HYPERCALL_PAGE_MSR:#x}, and the monitor fills the page there.
- **Registers**: number in {abi.NUMBER_REGISTER.upper()}, arguments in
  {" ".join(register.upper() for register in abi.ARGUMENT_REGISTERS)}, result in RAX. All others keep their value.
- **Result**: 0 or more is success; -4095 to -1 is a negated errno. An argument wider than its bits is -EINVAL.
- **Addresses** of buffers are guest-physical.
- **Numbers**: {abi.BUILT_IN_FIRST:#x}-{abi.BUILT_IN_LAST:#x} built in, {abi.PLUGIN_FIRST:#x}-{abi.PLUGIN_LAST:#x}
  plugins, below {abi.BUILT_IN_FIRST:#x} foreign personalities. A number, once shipped, is never reused.
- **From CPL 3** a call gets -EPERM unless its row says otherwise.
"""

FRAMES = """## Frames

A trap (`set_trap_table`), a system call (`set_syscall_entry`) and an upcall (`event_page`) enter the guest's kernel as
a processor in 64-bit mode would. From CPL 3 the kernel starts on the stack of `set_kernel_stack`, else it stays on its
own, in both cases aligned down to 16. From RSP up lie

- the error code, of the exceptions that have one (#DF, #TS, #NP, #SS, #GP, #PF, #AC), and of nothing else
- RIP, CS, RFLAGS, RSP, SS of what was interrupted; RFLAGS.IF is the event page's `enabled`

Registers keep their values, but after SYSCALL, RCX is the next RIP and R11 RFLAGS. A page fault's address is in the
event page's `cr2`; a guest without an event page cannot know it.

`return_from_event` goes back. Its number is in RAX, so the guest's RAX lies on top of the frame: `push rax` first, or
`xchg [rsp], rax` where the error code lies. The hypercall page is jumped to, not called. A kernel enters CPL 3 for the
first time by pushing SS (`USER_SS`), RSP, RFLAGS (0x202), CS (`USER_CS`), RIP and RAX, and the same call.

- **Flags of a trap_entry**: bits 1-0 are the highest CPL that may raise the vector by INT n; bit 2 clears `enabled` on
  entry. System calls and upcalls always do; a return sets it from RFLAGS.IF.
- **Events**: `event_send` sets the port's bit in `pending`; unless its `mask` bit is set, `upcall_pending` is set too,
  and the upcall follows where `enabled` is. It clears the `pending` bits that it serves. A guest that sets `enabled`
  and then finds `upcall_pending` set calls `event_deliver`.
- **Address spaces**: 0 is the boot space. Addresses below 512 GiB are common to all, those above are a space's own.
"""

GUEST_CALLS = f"""## Calls from the host

The host may call a function of the guest's kernel while the guest does not run, or while one of its hypercalls is
answered; the hypercalls of that function may be answered so in turn. A guest allows it by enabling the hypercall page.

- **Entry** is System V's: arguments in RDI, RSI, RDX, RCX, R8, R9, what they point to above the return address on the
  guest's stack, more than 128 bytes below its RSP; RSP + 8 is a multiple of 16, RFLAGS is clear but for what the
  guest's events need. Where CPL 3 was interrupted, the stack is that of `set_kernel_stack`.
- **Return**: the return address is byte {abi.CALL_RETURN_OFFSET} of the hypercall page, at the gva that equals its gpa.
  The code there makes `call_return` with RAX and RDX. It ends the innermost call; without one it is -EPERM.
- **Kept**: all registers, XMM and x87 too, and the active address space, are put back. Memory stays as it was left.
- **Events** wait until the hypercall is answered that led to the call.
"""

RINGS = """## Rings

`ring_open` shares a page-aligned `ring`: the head, then `entries` of `ring_submission`, then as many of
`ring_completion`. The guest zeroes its line of the head first. Calls are made in the order of their submission, each as
if the guest's kernel had made it alone; what moves control flow gets -EINVAL.

- **Indices** start at 0 and wrap at 2**32; index i is slot i % entries. At most `entries` calls may wait in
  submissions. Completions never overrun: where they are full, submissions stay queued until a kick after a reap.
- **past(at, old, new)** is `(new - at - 1) % 2**32 < (new - old) % 2**32`: the step from old to new goes past `at`.
- **kick_at**: the guest kicks when its submit_tail goes past it. Having found calls, the monitor moves it out of reach
  and looks again every 10 us of virtual time, at the guest's exits or while it sleeps, until it finds none. So a busy
  ring needs no kick, and a guest that neither exits nor sleeps kicks all the same where it needs a result at once.
- **notify_at**: the port is raised when complete_tail goes past it.
- **Broken**: an index that cannot be closes the ring; `broken` is 1, the port is raised, a kick gets -EINVAL.
- Calls that depend on what runs (the active space, segment bases) belong outside of rings: any exit may be their time.

The guest's side:

```text
submit(call, token):                              reap():
    if submit_tail - complete_head == entries:        if complete_head == complete_tail: return none
        return full                                   done = completions[complete_head % entries]
    submissions[submit_tail % entries] = call, token  complete_head += 1
    submit_tail += 1                                  return done.token, done.result

kick_if_needed():                                 wait():
    old, looked_at = looked_at, submit_tail           notify_at = complete_head
    if past(kick_at, old, submit_tail):               if complete_head == complete_tail: event_wait()
        ring_kick(ring)                               clear the port's pending bit
```

`guest_sdk.ring` has these as routines.
"""


def page() -> str:
    """The whole page, as Markdown."""
    parts = [INTRODUCTION, detection(), calls(), FRAMES, GUEST_CALLS, RINGS, structures(), constants()]
    return "\n".join(parts)


def table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def detection() -> str:
    """The CPUID leaves by which a guest finds the monitor."""
    rows = [
        ("0x1", "ECX bit 31: a hypervisor is present"),
        (f"{abi.CPUID_SIGNATURE_LEAF:#x}", f"EAX highest leaf; EBX, ECX, EDX `{abi.SIGNATURE.decode()}`"),
        (
            f"{abi.CPUID_FEATURES_LEAF:#x}",
            "EAX feature bits 0-31, EBX ABI version, ECX feature bits 32-62, which are plugins' own",
        ),
        (f"{abi.CPUID_HYPERCALL_LEAF:#x}", "EAX pages of hypercall code (1), EBX index of the MSR that takes its gpa"),
    ]
    features = [(str(bit), f"`{name}`") for name, bit in abi.FEATURES.items()]
    return f"## Detection\n\n{table(('CPUID leaf', 'answer'), rows)}\n{table(('feature bit', 'name'), features)}"


def calls() -> str:
    """Every built-in call."""
    rows = []
    for call in abi.CALLS:
        arguments = ", ".join(
            f"{register.upper()} `{name}`" + ("" if bits == 64 else f" ({bits} bits)")
            for register, (name, bits) in zip(abi.ARGUMENT_REGISTERS, call.arguments, strict=False)
        )
        rows.append((f"{call.number:#x}", f"`{call.name}`", arguments or "none", call.result))
    return f"## Calls\n\n{table(('number', 'name', 'arguments', 'result'), rows)}"


def structures() -> str:
    """Structures in guest memory, with offsets."""
    parts = ["## Structures\n\nLittle-endian, packed as written.\n"]
    for struct in abi.STRUCTS:
        rows = [(f"{struct.offset(name)}", f"{size}", f"`{name}`") for name, size in struct.fields]
        parts.append(f"### {struct.name}, {struct.size_bytes} bytes\n\n{table(('offset', 'bytes', 'field'), rows)}")
    return "\n".join(parts)


def constants() -> str:
    """Errors, flags and selectors."""
    groups = {
        "Errors": {name: str(value) for name, value in abi.ERRNO.items()},
        "Flags of `map` and `page_update`": {name: str(value) for name, value in abi.MAP_FLAGS.items()},
        "Segment bases": {name: str(value) for name, value in abi.SEGMENT_BASES.items()},
        "Selectors in frames": {name: f"{value:#x}" for name, value in abi.SELECTORS.items()},
        "Bounds": {
            "event ports": str(abi.EVENT_PORTS),
            "entries of a multicall": str(abi.MULTICALL_MOST),
            "entries of a page_update": str(abi.UPDATES_MOST),
            "entries of a ring": str(abi.RING_MOST),
            "bytes of a block call": str(abi.BLOCK_MOST),
            "bytes of a sector": str(abi.SECTOR_BYTES),
            "ns of a timer's period, at least": str(abi.TIMER_PERIOD_LEAST),
            "ns of a timer's deadline": str(abi.TIME_MOST),
        },
    }
    parts = ["## Constants\n"]
    for title, values in groups.items():
        parts.append(
            f"### {title}\n\n{table(('name', 'value'), [(f'`{name}`', value) for name, value in values.items()])}"
        )
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
