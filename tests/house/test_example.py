"""The example plugin is a package: it installs for real, its own tests pass from there, and the commands see it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from guest_sdk.examples import hello

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "pvkit-kvstore"
PVKIT = Path(sys.executable).with_name("pvkit")
Command = Callable[..., subprocess.CompletedProcess[str]]


def run(*arguments: str | Path, folder: Path, paths: tuple[Path, ...]) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    return subprocess.run(
        list(map(str, arguments)), cwd=folder, env=settings, capture_output=True, text=True, timeout=110, check=False
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the example is installed into: built as a wheel, without the network."""
    folder = tmp_path_factory.mktemp("example")
    source = shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    done = run(sys.executable, "-m", "pip", "install", "-q", *offline, "--target", folder / "site", source,
               folder=folder, paths=(ROOT,))  # fmt: skip
    assert done.returncode == 0, done.stderr
    shutil.rmtree(source / "src")  # what the tests import is what was installed
    return folder / "site"


@pytest.fixture
def pvkit(site: Path, tmp_path: Path) -> Command:
    """The command, where the example is installed."""
    return lambda *arguments: run(PVKIT, *arguments, folder=tmp_path, paths=(site, ROOT))


def test_its_own_tests_pass_from_the_installed_package(site: Path) -> None:
    source = site.parent / "source"
    command = (sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={source}", source)
    done = run(*command, folder=source, paths=(site, ROOT))
    assert done.returncode == 0, done.stdout + done.stderr
    summary = done.stdout.splitlines()[-1]
    assert "failed" not in summary
    assert int(summary.split(" passed")[0].split()[-1]) >= 16


def test_what_guests_compile_is_shipped(site: Path) -> None:
    package = site / "pvkit_kvstore"
    assert (package / "include" / "kvstore.h").is_file()
    assert (package / "c" / "kvstore.c").is_file()


def test_the_commands_see_it(pvkit: Command) -> None:
    listed = pvkit("hypercalls", "list").stdout
    assert "kv_put(" in listed
    assert "kvstore.limit" in listed
    shown = pvkit("hypercalls", "show", "kvstore").stdout
    assert "40  kvstore" in shown
    assert "kvstore.limit: a whole number from 1 to 4096; 64 where not set; most documents kept" in shown
    header = pvkit("hypercalls", "header", "c").stdout
    assert "#define PVKIT_CALL_KV_PUT 0x8100" in header
    assert "#define PVKIT_FEATURE_KVSTORE 0x10000000000" in header
    assert "plugin kvstore" in pvkit("doctor").stdout


def test_it_can_be_left_out(pvkit: Command) -> None:
    assert "kv" not in pvkit("hypercalls", "list", "--no-plugin", "kvstore").stdout


def test_its_options_are_checked(pvkit: Command, tmp_path: Path) -> None:
    guest = tmp_path / "hello.elf"
    guest.write_bytes(hello.build())
    assert pvkit("run", guest, "--strict", "--option", "kvstore.limit=20").stdout == "hello, world\n"
    wrong = pvkit("run", guest, "--option", "kvstore.limit=lots")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "pvkit: option kvstore.limit='lots' is not a whole number from 1 to 4096\n"


def test_broken_it_is_skipped_and_fatal_under_strict(site: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(site, tmp_path / "site")
    (broken / "pvkit_kvstore" / "store.py").write_text("raise RuntimeError('half of it is gone')\n")
    guest = tmp_path / "hello.elf"
    guest.write_bytes(hello.build())
    loose = run(PVKIT, "run", guest, folder=tmp_path, paths=(broken, ROOT))
    assert (loose.returncode, loose.stdout) == (0, "hello, world\n")
    source = "plugin kvstore (pvkit_kvstore:PLUGIN, from pvkit-kvstore 1.0)"
    assert loose.stderr == f"pvkit: {source} left out: RuntimeError: half of it is gone\n"
    strict = run(PVKIT, "run", guest, "--strict", folder=tmp_path, paths=(broken, ROOT))
    assert (strict.returncode, strict.stdout) == (2, "")
    assert strict.stderr == f"pvkit: {source} cannot be used: RuntimeError: half of it is gone\n"
