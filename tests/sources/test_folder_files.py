from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from edge.sources.folder_files import Found, Ledger, WatchedFolder, event_id


def test_a_folder_swapped_for_a_symlink_after_the_look_is_not_read(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    (inside / "sub").mkdir(parents=True)
    outside.mkdir()
    (inside / "sub" / "a.jpg").write_bytes(b"mine")
    folder = WatchedFolder(str(inside))
    (found,) = folder.look()
    assert folder.read(found, 100) == b"mine"
    (inside / "sub" / "a.jpg").rename(outside / "a.jpg")
    (inside / "sub").rmdir()
    (inside / "sub").symlink_to(outside)
    assert folder.read(found, 100) is None


def test_a_file_that_changes_between_look_and_read_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"first")
    folder = WatchedFolder(str(tmp_path))
    (found,) = folder.look()
    (tmp_path / "a.jpg").write_bytes(b"other")
    assert folder.read(found, 100) is None
    (tmp_path / "a.jpg").unlink()
    assert folder.read(found, 100) is None


def found(path: str, *, state: int = 0) -> Found:
    return Found(path, 1, state, f"{path}/{state}".encode())


def test_the_ledger_forgets_what_is_gone() -> None:
    ledger = Ledger(settle=1.0)
    files = [found(str(i)) for i in range(1000)]
    assert ledger.sort(files, 0.0, 10) == []
    for file in ledger.sort(files, 1.0, 2000):
        ledger.handled(file)
    assert len(ledger) == 1000
    assert ledger.sort(files[:1], 2.0, 10) == []
    assert len(ledger) == 1


@given(st.lists(st.tuples(st.floats(0.01, 0.7), st.integers(0, 2)), max_size=30))
def test_a_file_is_complete_only_after_it_was_seen_unchanged_for_long_enough(
    looks: list[tuple[float, int]],
) -> None:
    ledger, now, changed_at, last = Ledger(settle=1.0), 0.0, 0.0, -1
    for step, state in looks:
        now += step
        if state != last:
            changed_at, last = now, state
        ready = ledger.sort([found("a", state=state)], now, 10)
        assert bool(ready) == (now - changed_at >= 1.0)


def test_the_oldest_files_come_first() -> None:
    ledger = Ledger(settle=0.0)
    files = [found(str(i), state=9 - i) for i in range(10)]
    assert [file.mtime_ns for file in ledger.sort(files, 0.0, 3)] == [0, 1, 2]


def test_an_event_id_is_a_function_of_path_size_time_and_content() -> None:
    file = Found("a", 1, 2, b"")
    ids = {
        event_id("drop", file, b"x"),
        event_id("drop", file, b"y"),
        event_id("drop", Found("b", 1, 2, b""), b"x"),
        event_id("drop", Found("a", 1, 3, b""), b"x"),
        event_id("else", file, b"x"),
    }
    assert len(ids) == 5
    assert event_id("drop", Found("a", 1, 2, b"other"), b"x") in ids
