"""Builds are kept by content; a cache that fails is only slower."""

from __future__ import annotations

from pathlib import Path

import pytest

from guest_sdk import Guest, cache, elf


def guest(status: int = 0) -> Guest:
    return Guest("test", paravirt=False).asm(f"main: mov eax, {status}\nret")


def test_directory_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PVKIT_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.directory() == tmp_path / "own" / "guests"
    monkeypatch.delenv("PVKIT_CACHE")
    assert cache.directory() == tmp_path / "xdg" / "pvkit" / "guests"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.directory() == tmp_path / "home" / ".cache" / "pvkit" / "guests"


def test_the_second_build_is_not_assembled(monkeypatch: pytest.MonkeyPatch) -> None:
    first = guest().build()

    def refuse(*_arguments: object, **_named: object) -> bytes:
        raise AssertionError("assembled again")

    monkeypatch.setattr(elf, "write", refuse)
    assert guest().build() == first


def test_other_content_is_another_build(own_cache: Path) -> None:
    assert guest(0).build() != guest(1).build()
    assert len(list((own_cache / "guests").iterdir())) == 2


def test_another_builder_is_another_build(monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache.key("content")
    monkeypatch.setattr(cache, "builder_digest", lambda: b"another")
    assert cache.key("content") != before


@pytest.mark.parametrize("damage", [b"", b"short", b"\x7fELF" + bytes(500)])
def test_a_damaged_file_is_built_again(own_cache: Path, damage: bytes) -> None:
    built = guest().build()
    (path,) = (own_cache / "guests").iterdir()
    path.write_bytes(damage)
    assert guest().build() == built


def test_a_cache_that_cannot_be_written_fails_no_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("PVKIT_CACHE", str(tmp_path / "file"))
    assert guest().build().startswith(b"\x7fELF")


def test_a_failed_rename_leaves_nothing_behind(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> Path:
        raise OSError("no")

    monkeypatch.setattr(Path, "replace", refuse)
    assert guest().build().startswith(b"\x7fELF")
    assert list((own_cache / "guests").iterdir()) == []


def test_the_oldest_go_first(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MOST_FILES", 3)
    for status in range(6):
        guest(status).build()
    assert len(list((own_cache / "guests").iterdir())) == 3


def test_no_home_is_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "directory", lambda: None)
    cache.store("name", b"elf")
    assert cache.load("name") is None
