"""The GPU's encoder where there is no GPU. ``tests/gpu/on_fakes/test_jpeg.py`` has the rest."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from edge.errors import PartFailed
from edge.stages.kernels import nvjpeg
from edge.stages.kernels.jpeg import GpuJpeg
from edge.stages.kernels.nvjpeg import candidates
from tests.stages.kernels.emulation import StandIn


def test_without_a_driver_nothing_is_said_of_nvjpeg() -> None:
    with pytest.raises(PartFailed, match="no NVIDIA driver") as caught:
        GpuJpeg(driver="libnowhere.so.1")
    assert caught.value.reason == "no_gpu"
    assert "nvjpeg" not in f"{caught.value}{caught.value.hint}".lower()


def test_a_gpu_that_is_not_there_is_named(gpu: StandIn) -> None:
    with pytest.raises(PartFailed, match="GPU 3: ") as caught:
        GpuJpeg(device=3, driver=gpu.library)
    assert caught.value.reason == "no_gpu"


def test_without_the_library_it_says_where_to_get_it_and_holds_nothing(
    gpu: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvjpeg, "NAMES", ("libnowhere.so",))
    with pytest.raises(PartFailed, match="nvJPEG cannot be loaded: libnowhere") as caught:
        GpuJpeg(driver=gpu.library)
    assert caught.value.reason == "no_library"
    assert "[tensorrt] library_path" in caught.value.hint
    (tmp_path / "libnowhere.so").write_bytes(b"no library")
    with pytest.raises(PartFailed, match=r"nvJPEG cannot be loaded: .*file too short"):
        GpuJpeg(str(tmp_path), driver=gpu.library)


def test_another_library_of_that_name_is_refused(
    gpu: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvjpeg, "NAMES", ("libnowhere.so",))
    (tmp_path / "libnowhere.so").symlink_to(gpu.library)
    with pytest.raises(PartFailed, match="undefined symbol: nvjpeg"):
        GpuJpeg(str(tmp_path), driver=gpu.library)


@pytest.mark.parametrize("folder", ["", "lib", "nvidia/cu13/lib", "nvidia/nvjpeg/lib"])
def test_the_library_is_found_as_a_wheel_and_as_a_toolkit_lay_it_down(
    tmp_path: Path, folder: str
) -> None:
    place = tmp_path / folder
    place.mkdir(parents=True, exist_ok=True)
    (place / "libnvjpeg.so.12").touch()
    found = list(candidates(str(tmp_path)))
    assert found[0] == str(place / "libnvjpeg.so.12")
    assert found[-3:] == ["libnvjpeg.so.13", "libnvjpeg.so.12", "libnvjpeg.so"]


def test_the_structures_are_as_large_as_the_header_says() -> None:
    """``nvjpegImage_t``: four pointers, four pitches. ``nvjpegDevAllocator_t``: two functions."""
    word = ctypes.sizeof(ctypes.c_void_p)
    assert ctypes.sizeof(nvjpeg._Image) == 8 * word
    assert nvjpeg._Image.pitch.offset == 4 * word
    assert ctypes.sizeof(nvjpeg._Allocator) == 2 * word
