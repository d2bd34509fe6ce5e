"""The errors of the house, named by what the caller does next.

::

    EdgeError
     |- Rejected     this item, never     -> dead letter with its reason
     |   `- Withheld this picture may not leave: it cannot be shown to be safe
     |- TryLater     this item, not now   -> the delivery policy decides when
     |- PartFailed   a camera, an engine, a link -> its supervisor reopens that part only
     |   `- GpuLost  the GPU is lost to this process -> stop in order, exit 75, start anew
     `- Fatal        configuration, no model -> log the hint, exit 78

Any other exception is a bug. Only the delivery worker and the supervisor may catch everything.
A message says what, where and what was expected; ``hint`` says what to do about it.
"""


class EdgeError(Exception):
    """Root of the house's own errors.

    Args:
        message: what happened, where, and what was expected.
        hint: what the reader can do about it; shown to operators.
        reason: a short stable code (``snake_case``) for metrics, jobs and dead letters.

    """

    default_reason = "error"
    #: where another system refused: the status it answered with; 0: it did not answer
    status: int = 0
    #: the beginning of what it answered, as it came
    answer: bytes = b""

    def __init__(self, message: str, *, hint: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        self.reason = reason or self.default_reason


class Rejected(EdgeError):
    """This item can never succeed. Set it aside with its reason and go on."""

    default_reason = "rejected"


class Withheld(Rejected):
    """This picture may not leave, because nobody can show that it is safe."""

    default_reason = "withheld"


class TryLater(EdgeError):
    """This item may succeed later; nothing is wrong with it.

    ``after`` is the least number of seconds to wait, where the refusing side said so.
    """

    default_reason = "try_later"

    def __init__(
        self, message: str, *, hint: str = "", reason: str = "", after: float = 0.0
    ) -> None:
        super().__init__(message, hint=hint, reason=reason)
        self.after = after


class PartFailed(EdgeError):
    """A part (camera, engine, store, link) is out of order. Its supervisor reopens it."""

    default_reason = "part_failed"
    #: as in TryLater: whoever caught both may wait for either
    after = 0.0


class GpuLost(PartFailed):
    """The GPU cannot be used by this process again: stop in order, exit 75, and start anew."""

    default_reason = "gpu_lost"


class Fatal(EdgeError):
    """The process cannot do its work: exit 78, and do not restart until a person has acted."""

    default_reason = "fatal"
