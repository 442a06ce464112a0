"""`pvkit doctor`: what this machine can do, and how to mend what it cannot."""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import typer

from guest_sdk.compiler import find_compiler
from guest_sdk.errors import CompilerMissing
from hypercalls.registry import Registry
from pv.cli.screen import say
from pv.dispatch import Collision
from pv.plugin import GROUP, PluginError, load_plugins


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. needed: without it the engine cannot run. mend: what to do where it is missing, or `wrong`."""

    what: str
    ok: bool
    detail: str
    mend: str = ""
    needed: bool = False
    wrong: str = "missing"


def doctor() -> None:
    """Show what this machine can do, and how to mend what it cannot."""
    findings = [finding for check in CHECKS for finding in check()]
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        say(f"{'ok' if finding.ok else finding.wrong:<7}  {finding.what:<{width}}  {finding.detail}")
        if not finding.ok and finding.mend:
            say(f"{'':9}{'':{width}}  to mend: {finding.mend}")
    if any(finding.needed and not finding.ok for finding in findings):
        raise typer.Exit(1)


def python() -> Iterator[Finding]:
    """The interpreter, and its headers, which the native core's build needs."""
    found = ".".join(map(str, sys.version_info[:3]))
    yield Finding("Python", sys.version_info >= (3, 11), found, "install Python 3.11 or later", needed=True)
    header = Path(sysconfig.get_path("include")) / "Python.h"
    yield Finding("Python headers", header.exists(), str(header), "apt-get install python3-dev (to build only)")


def compiler() -> Iterator[Finding]:
    """The compiler that builds the native core."""
    found = shutil.which("gcc") or shutil.which("cc")
    yield Finding("C compiler", found is not None, found or "no gcc", "apt-get install gcc libc6-dev (to build only)")


def c_guests() -> Iterator[Finding]:
    """What `pvkit build` compiles with."""
    try:
        found = find_compiler()
    except CompilerMissing as missing:
        yield Finding("guests in C", False, str(missing).partition(";")[0], "apt-get install gcc, or name yours in CC")
    else:
        yield Finding("guests in C", True, found.version)


def engine() -> Iterator[Finding]:
    """Unicorn's wheel, and the layout probe that the core makes when it is imported."""
    try:
        found = version("unicorn")
    except PackageNotFoundError:
        yield Finding("Unicorn", False, "not installed", "pip install 'unicorn>=2.1.4,<2.1.5'", needed=True)
        return
    yield Finding("Unicorn", True, found, needed=True)
    try:
        importlib.import_module("pv.engines.unicorn")
    except ImportError as absent:
        yield Finding("native core", False, str(absent), "pip install -e . (builds it)", needed=True)
    except RuntimeError as refused:  # EngineError: the core's layout probe says what it met, and the cure
        yield Finding("native core", False, str(refused), "pip install 'unicorn>=2.1.4,<2.1.5'", needed=True)
    else:
        yield Finding("native core", True, "imports; its layout probe agrees", needed=True)


def kvm() -> Iterator[Finding]:
    """Whether this user may open /dev/kvm. No engine here uses it."""
    device = Path("/dev/kvm")
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        yield Finding("/dev/kvm", False, "not there", "load the kvm module; the unicorn engine does without")
    except OSError as refused:
        yield Finding("/dev/kvm", False, refused.strerror or str(refused), "add yourself to the group kvm")
    else:
        yield Finding("/dev/kvm", True, "opens (the unicorn engine does not use it)")


def plugins() -> Iterator[Finding]:
    """Every hypercall package that is installed, and whether it can be used."""
    log = logging.getLogger("pvkit")
    level = log.level
    log.setLevel(logging.ERROR)  # what is left out is a finding here, and need not be said twice
    try:
        found = load_plugins()
        Registry(loaded.plugin for loaded in found.plugins)
    except Collision as clash:
        yield Finding("plugins", False, str(clash), "uninstall one of the two", wrong="clash")
        return
    except (PluginError, TypeError) as broken:
        yield Finding("plugins", False, str(broken), "mend or uninstall what it names", wrong="broken")
        return
    finally:
        log.setLevel(level)
    for loaded in found.plugins:
        yield Finding(f"plugin {loaded.name}", True, loaded.source.removeprefix(f"{loaded.name} ").strip("()"))
    for report in found.reports:
        yield Finding("plugin", False, report, "mend or uninstall it, or leave it out with --no-plugin", wrong="broken")
    if not found.plugins and not found.reports:
        yield Finding("plugins", False, f"no entry point in {GROUP}", "pip install -e . (registers the built-ins)")


CHECKS: Final[tuple[Callable[[], Iterator[Finding]], ...]] = (python, compiler, c_guests, engine, kvm, plugins)
