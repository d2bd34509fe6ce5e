"""What a configuration from afar may not do, key by key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.app.config import _lower
from edge.config.root import Config


def config(home: Path, **detect: Any) -> Config:
    store = {"kind": "folder", "path": str(home)}
    return Config.model_validate({"store": store, "detect": detect})


@pytest.mark.parametrize("trained", ["auto", "onnx", "openvino", "tensorrt"])
def test_safe_mode_in_a_trained_models_place_is_lower_and_the_way_back_is_not(
    tmp_path: Path, trained: str
) -> None:
    safe, seeing = config(tmp_path, engine="builtin"), config(tmp_path, engine=trained)
    assert list(_lower(safe, seeing)) == ["detect.engine"]
    assert list(_lower(seeing, safe)) == []
    assert list(_lower(safe, safe)) == []
