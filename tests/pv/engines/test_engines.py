"""The engines by name."""

import subprocess
import sys

import pytest

from pv.engines import ENGINES, find_engine
from pv.engines.scripted import script


def test_an_unknown_engine_is_refused_with_the_names() -> None:
    with pytest.raises(ValueError, match="engine 'qemu' is not known: unicorn"):
        find_engine("qemu")


def test_a_name_and_a_factory_are_found() -> None:
    assert find_engine("unicorn") is ENGINES["unicorn"]
    factory = script()
    assert find_engine(factory) is factory


def test_importing_the_monitor_does_not_import_the_core() -> None:
    code = "import sys, pv, pv.engines, pv.exits; print([name for name in sys.modules if 'unicorn' in name])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
