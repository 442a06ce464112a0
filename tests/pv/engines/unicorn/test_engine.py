"""The library beneath: another one, another version or another layout is refused at import, in one line."""

from __future__ import annotations

import ctypes.util
import io
import subprocess
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from pv.engines.unicorn import EngineError, library_path
from pv.engines.unicorn import core as native


def load_in_a_child(path: str) -> str:
    """What the last line of a process says that loads the library at `path`: wrong ones may not stay in this one."""
    code = (
        "import sys, importlib.util, pathlib\n"
        "import pv.engines.unicorn as engine\n"
        "try:\n"
        "    engine.core.load_engine(sys.argv[1])\n"
        "except engine.EngineError as error:\n"
        "    print(error)\n"
        "else:\n"
        "    print('loaded')\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert len(lines) == 1
    return lines[0]


def symbol_file_offset(data: bytes, wanted: bytes) -> int:
    """Where in the file the function of that name lies: the library's own symbol table says."""
    elf = ELFFile(io.BytesIO(data))
    table = elf.get_section_by_name(".dynsym")
    assert isinstance(table, SymbolTableSection)
    found = table.get_symbol_by_name(wanted.decode())
    assert found
    symbol = found[0]
    address = symbol["st_value"]
    segment = next(s for s in elf.iter_segments("PT_LOAD") if s["p_vaddr"] <= address < s["p_vaddr"] + s["p_filesz"])
    return int(address - segment["p_vaddr"] + segment["p_offset"])


def doctor(path: Path, name: bytes, code: bytes) -> None:
    """Write a copy of the library to `path` whose function `name` begins with `code`."""
    data = bytearray(library_path().read_bytes())
    at = symbol_file_offset(bytes(data), name)
    data[at : at + len(code)] = code
    path.write_bytes(data)


def load_doctored(tmp_path: Path, name: bytes, code: bytes) -> str:
    """What is said of such a copy, which is not kept: it has 20 MB."""
    path = tmp_path / "libunicorn.so.2"
    doctor(path, name, code)
    try:
        return load_in_a_child(str(path))
    finally:
        path.unlink()


def returning(value: int) -> bytes:
    """MOV EAX, value; RET."""
    return b"\xb8" + value.to_bytes(4, "little") + b"\xc3"


def test_the_installed_one_is_right() -> None:
    native.load_engine(str(library_path()))
    assert load_in_a_child(str(library_path())) == "loaded"


def test_a_library_that_is_not_there() -> None:
    with pytest.raises(
        EngineError, match=r"^cannot load /nowhere/libunicorn.so.2: .*; reinstall it with: pip install unicorn==2.1.4$"
    ):
        native.load_engine("/nowhere/libunicorn.so.2")
    native.load_engine(str(library_path()))


def test_a_library_that_is_another() -> None:
    libc = ctypes.util.find_library("c")
    assert libc
    line = load_in_a_child(libc)
    assert line == f"{libc} has no uc_version; pvkit needs the wheel of Unicorn 2.1.4: pip install unicorn==2.1.4"


@pytest.mark.parametrize(
    ("version", "text"), [(0x02010300, "2.1.3"), (0x02010500, "2.1.5"), (0x03000000, "3.0.0"), (0x01000300, "1.0.3")]
)
def test_another_version(tmp_path: Path, version: int, text: str) -> None:
    line = load_doctored(tmp_path, b"uc_version", returning(version))
    assert line == (
        f"Unicorn {text} is installed; the core knows the layout of 2.1.4 only. "
        "Mend it with: pip install unicorn==2.1.4"
    )


def test_the_extra_byte_of_the_version_does_not_matter(tmp_path: Path) -> None:
    assert load_doctored(tmp_path, b"uc_version", returning(0x020104FF)) == "loaded"


@pytest.mark.parametrize(
    ("name", "code", "what"),
    [
        (b"uc_context_size", returning(5000), "the size of its saved context"),
        (b"uc_context_save", returning(1), "saving a context"),
        (b"uc_hook_add", returning(1), "its interrupt hook"),
        (b"uc_emu_start", returning(0), "CPL 1 set through hflags"),
        (b"uc_open", returning(1), "Unicorn cannot open an x86-64 engine"),
    ],
)
def test_another_layout(tmp_path: Path, name: bytes, code: bytes, what: str) -> None:
    line = load_doctored(tmp_path, name, code)
    assert what in line
    assert "differs" in line or "cannot open" in line


def test_registers_that_lie_elsewhere(tmp_path: Path) -> None:
    """uc_reg_write that does nothing stands for a register file that is not where the core looks."""
    line = load_doctored(tmp_path, b"uc_reg_write", returning(0))
    assert line.startswith("this libunicorn differs from what the core knows: ")
    assert line.endswith("Install the wheel it was made for: pip install --force-reinstall unicorn==2.1.4")


def test_an_import_with_the_wrong_library_is_one_line(tmp_path: Path) -> None:
    """The package finds the library beside the `unicorn` that is installed: here, a copy of another version."""
    package = tmp_path / "unicorn"
    (package / "lib").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    doctor(package / "lib" / "libunicorn.so.2", b"uc_version", returning(0x02000100))
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import pv.engines.unicorn"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 1
    (package / "lib" / "libunicorn.so.2").unlink()
    last = ran.stderr.splitlines()[-1]
    assert "EngineError: Unicorn 2.0.1 is installed; the core knows the layout of 2.1.4 only" in last
