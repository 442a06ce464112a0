"""Builds the extensions: the native core, and the page that two processes talk through. All the rest stands in
pyproject.toml.

The core is compiled against the headers that the unicorn wheel ships and is not linked with its library:
it finds the functions by dlopen at import, in the unicorn package that is then installed.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from setuptools import Extension, setup

CORE = Path("pv/engines/unicorn")


def unicorn_headers() -> str:
    """The include folder of the installed unicorn wheel, found without importing (and so loading) it."""
    spec = importlib.util.find_spec("unicorn")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("pvkit: no headers of the unicorn wheel: pip install 'unicorn>=2.1.4,<2.1.5'")
    return str(Path(spec.submodule_search_locations[0]) / "include")


def native_core() -> list[Extension]:
    """The extension as cythonize wants it. Paths are relative to this file, as setuptools asks."""
    if not (CORE / "core.pyx").exists():
        return []
    from Cython.Build import cythonize  # only here: metadata can be made without Cython

    extension = Extension(
        "pv.engines.unicorn.core",
        sources=[str(CORE / "core.pyx"), *sorted(map(str, CORE.glob("native/*.c")))],
        depends=sorted(map(str, [*CORE.glob("*.px[di]"), *CORE.glob("native/*.h")])),
        include_dirs=[unicorn_headers(), str(CORE), str(CORE / "native")],
        libraries=["dl", "pthread"],
        extra_compile_args=["-O2", "-flto", "-fvisibility=hidden", "-std=gnu11", "-Wall"],
        extra_link_args=["-O2", "-flto"],
    )
    mailbox = Extension("pv.isolation.mailbox", sources=["pv/isolation/mailbox.pyx"], extra_compile_args=["-O2"])
    return list(cythonize([extension, mailbox], language_level=3))


setup(ext_modules=native_core())
