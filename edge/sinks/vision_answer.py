"""What a Google-Vision-shaped service answers: annotations of one picture, or why there are none.

Shapes, as the public reference of ``images:annotate`` has them (v1, BatchAnnotateImagesResponse)::

    200  {"responses": [{"labelAnnotations": [{"mid", "description", "score", …}], …}]}
    200  {"responses": [{"error": {"code": 3, "message": "Bad image data."}}]}
    4xx  {"error": {"code": 400, "message": "…", "status": "INVALID_ARGUMENT", "details": [
         {"reason": "API_KEY_INVALID", …}]}}

A picture in which nothing was recognised has an empty response; that is an answer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from edge.errors import EdgeError, PartFailed, Rejected, TryLater

_KEY_HINT = (
    "check api_key of the handler: is it right and allowed from here, and is the service enabled "
    "and paid for in its project?"
)
_URI_HINT = "check uri of the handler; Google's is https://vision.googleapis.com/v1/images:annotate"
_LATER_HINT = "it is tried again"

_LATER = {408, 425, 429}
_KEY = {401, 402, 403, 407}
_ELSEWHERE = {404, 405, 501}

_STATUS = {1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 10: 409, 13: 500, 14: 503,
           16: 401}  # fmt: skip
"""HTTP's status for a code of google.rpc.Code, which is what one picture's error has."""
_LATER_CODES = {1, 2, 4, 8, 10, 13, 14}
_KEY_CODES = {7, 16}
_WORDS = 300
_SENSELESS = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What reading raises over JSON of another shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Annotations of one picture."""

    #: the likeliest first: ``score`` 0 to 1, ``label``, and ``mid`` where it was given
    labels: list[dict[str, Any]]
    #: all that was said, a list or an object a feature, as it came
    features: Mapping[str, Any]


def read_answer(body: bytes) -> Answer:
    """Read the body of a 200 to a request about one picture.

    Raises:
        TryLater, PartFailed, Rejected: as the error says that stands in the place of annotations.
        PartFailed: it is not the answer of such a service.

    """
    try:
        responses = _json(body)["responses"]
        (said,) = responses
        if not isinstance(responses, list) or not isinstance(said, dict):
            raise TypeError("responses is no list of an object")
        error = said.get("error")
        if error:
            raise _picture_error(error)
        return Answer(labels=_labels(said.get("labelAnnotations", [])), features=said)
    except _SENSELESS as error:
        raise PartFailed(
            f"the service does not answer like images:annotate: {_short(str(error))}",
            hint=_URI_HINT,
            reason="nonsense",
        ) from error


def refusal(status: int, body: bytes, after: float) -> EdgeError:
    """Return what to raise over an answer that is not a 200.

    Args:
        status: HTTP's.
        body: the answer.
        after: seconds that it asks to wait; 0: it does not say.

    """
    words, reasons = _error_of(body)
    said = f"the service answers {status}" + (f": {words}" if words else "")
    if status in _ELSEWHERE or status < 400:
        return PartFailed(said, hint=_URI_HINT, reason="not_the_service")
    if status in _LATER or status >= 500:
        reason = "busy" if status == 429 else "service_failed"
        return TryLater(said, hint=_LATER_HINT, reason=reason, after=after)
    if status in _KEY or "API_KEY" in reasons or "api key" in words.lower():
        return PartFailed(said, hint=_KEY_HINT, reason="refused_key")
    if status == 410:
        return PartFailed(said, hint=_URI_HINT, reason="gone")
    if "features" in words:
        return PartFailed(said, hint="check features of the handler", reason="refused_features")
    return Rejected(said, hint="it refuses this request, not Edge", reason="service_refused")


def _json(body: bytes) -> Any:
    """Read JSON that can be written again: no NaN, no infinity, no halves of characters."""
    read = json.loads(body, parse_constant=_no_constant, parse_float=_finite)
    json.dumps(read, ensure_ascii=False).encode()
    return read


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number


def _labels(annotations: Any) -> list[dict[str, Any]]:
    """Return labels, the likeliest first.

    Raises:
        TypeError: an annotation without description or score.

    """
    labels = []
    for found in annotations:
        label, score = found.get("description"), found.get("score", 0)
        if not isinstance(label, str) or type(score) not in {int, float}:
            raise TypeError(f"a label without description or score: {found}")
        mid = found.get("mid")
        labels.append(
            {"score": round(score, 6), "label": label}
            | ({"mid": mid} if isinstance(mid, str) else {})
        )
    return sorted(labels, key=lambda label: -label["score"])


def _picture_error(error: Any) -> EdgeError:
    """Return what to raise over google.rpc.Status in the place of annotations."""
    code, words = error.get("code"), _short(str(error.get("message", "")))
    said = f"the service says of this picture: {words or 'nothing'} (code {code})"
    if code in _LATER_CODES:
        failed: EdgeError = TryLater(said, hint=_LATER_HINT, reason="service_failed")
    elif code in _KEY_CODES:
        failed = PartFailed(said, hint=_KEY_HINT, reason="refused_key")
    else:
        failed = Rejected(said, hint="the service cannot use it", reason="picture_refused")
    failed.status = _STATUS.get(code, 400)
    return failed


def _error_of(body: bytes) -> tuple[str, str]:
    """Return the words of a refusal, and the codes of its reasons; empty where it has none."""
    try:
        error = _json(body)["error"]
        details = [entry for entry in error.get("details", []) if isinstance(entry, dict)]
        reasons = " ".join(str(entry.get("reason", "")) for entry in details)
        return _short(str(error.get("message", ""))), reasons
    except _SENSELESS:
        return "", ""


def _short(words: str) -> str:
    return " ".join(words.split())[:_WORDS]
