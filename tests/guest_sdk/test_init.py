"""Importing the ABI loads no assembler."""

import subprocess
import sys

import pytest

import guest_sdk


def test_reading_the_abi_loads_no_assembler() -> None:
    code = "import guest_sdk.abi, sys; sys.exit('keystone' in sys.modules or 'iced_x86' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_exports() -> None:
    assert guest_sdk.Guest.__name__ == "Guest"
    assert set(guest_sdk.__all__) == {"AssemblyError", "Guest", "abi"}
    with pytest.raises(AttributeError, match="no attribute 'Host'"):
        _ = guest_sdk.Host
