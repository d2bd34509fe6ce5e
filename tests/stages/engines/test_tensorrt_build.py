"""What the builder's process is asked, and what it says of how far it is."""

from __future__ import annotations

import json
import threading

import pytest

from edge.errors import PartFailed
from edge.stages.engines.tensorrt_build import BuildRequest, Progress

REQUEST = {
    "onnx": "a.onnx",
    "plan": "a.plan",
    "library": "tensorrt",
    "library_version": "10.3.0.26",
}


class Told(list[tuple[str, float | None]]):
    def __call__(self, phase: str, share: float | None) -> None:
        self.append((phase, share))


def test_a_request_is_read() -> None:
    request = BuildRequest.read(json.dumps(REQUEST | {"most": 8, "usual": 4}))

    assert (request.onnx, request.library, request.most, request.usual) == (
        "a.onnx",
        "tensorrt",
        8,
        4,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Expecting value"),
        ("[]", "mapping"),
        ("{}", "onnx"),
        (json.dumps(REQUEST | {"shell": "rm"}), "shell"),
        (json.dumps(REQUEST | {"most": "8"}), "most is a int"),
        (json.dumps(REQUEST | {"most": True}), "most is a int"),
        (json.dumps(REQUEST | {"library": "os"}), "library is one of"),
        (json.dumps(REQUEST | {"most": 2, "usual": 4}), "usual"),
        (json.dumps(REQUEST | {"usual": 0}), "usual"),
    ],
)
def test_what_is_no_request_is_refused(text: str, said: str) -> None:
    with pytest.raises(PartFailed, match=said) as refused:
        BuildRequest.read(text)

    assert refused.value.reason == "bad_request"


def test_phases_that_nest_make_one_share() -> None:
    told = Told()
    progress = Progress(told)

    progress.start("build", None, 4)
    assert progress.step("build", 0)
    progress.start("tactics", "build", 2)
    assert progress.step("tactics", 0)
    progress.finish("tactics")
    assert progress.step("build", 3)
    progress.finish("build")

    assert told == [
        ("build", 0.0),
        ("build", 0.25),
        ("tactics", 0.25),
        ("tactics", 0.375),
        ("build", 1.0),
    ]


def test_a_share_never_falls() -> None:
    told = Told()
    progress = Progress(told)

    progress.start("one", None, 2)
    progress.step("one", 1)
    progress.finish("one")
    progress.start("two", None, 2)
    progress.start("lost", "a phase that never began", 0)
    progress.start("itself", "itself", 3)
    progress.step("unknown", 5)
    progress.finish("unknown")

    assert [share for _, share in told] == [0.0, 1.0, 1.0, 1.0, 1.0, 1.0]


def test_nobody_listens_and_the_building_ends() -> None:
    def gone(_phase: str, _share: float | None) -> None:
        raise BrokenPipeError

    progress = Progress(gone)
    progress.start("build", None, 2)

    assert not progress.step("build", 0)


def test_phases_come_from_many_threads() -> None:
    told = Told()
    progress = Progress(told)
    progress.start("build", None, 1)

    def work(name: str) -> None:
        progress.start(name, "build", 100)
        for step in range(100):
            progress.step(name, step)
        progress.finish(name)

    threads = [threading.Thread(target=work, args=(f"t{n}",), name=f"t{n}") for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    shares = [share for _, share in told if share is not None]
    assert shares == sorted(shares)
    assert shares[-1] <= 1.0
