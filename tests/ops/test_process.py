"""What is set before anything heavy is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def python(code: str, home: Path, **environ: str) -> str:
    """Run ``code`` in a fresh interpreter without CI and without the house's settings."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, "HOME": str(home), **environ},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def test_onnxruntime_phones_nobody_and_leaves_no_trace(tmp_path: Path) -> None:
    code = (
        "from edge.ops.process import settle_process; settle_process(); "
        "import onnxruntime, time; time.sleep(0.5); print(onnxruntime.__version__)"
    )
    assert python(code, tmp_path).strip()
    assert list(tmp_path.iterdir()) == []


def test_nothing_heavy_is_imported_on_the_way(tmp_path: Path) -> None:
    code = (
        "from edge.ops.process import settle_process; settle_process(); import sys; "
        "print(*({'cv2', 'numpy', 'onnxruntime', 'click', 'pydantic'} & set(sys.modules)))"
    )
    assert python(code, tmp_path).strip() == ""


def test_the_operators_own_choice_of_threads_stays(tmp_path: Path) -> None:
    code = (
        "from edge.ops.process import settle_process; settle_process(); import os; "
        "print(os.environ['OMP_NUM_THREADS'], os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    environ = {"OMP_NUM_THREADS": "3", "ORT_DISABLE_TELEMETRY": "0"}
    assert python(code, tmp_path, **environ).split() == ["3", "1"]
