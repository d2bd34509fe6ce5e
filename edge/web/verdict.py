"""Is it safe, seeing, sending, heard: answers in words, and one state for the whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from edge.web.present_engines import FAULTS_HINT, engine_name
from edge.web.view import BoxStatus, Overall, Reason, Safe, Seeing, Sending, State, Upstream
from edge.web.words import age, count, size

_RANK: dict[State, int] = {"ok": 0, "degraded": 1, "failed": 2}
LIVE = ("camera", "scene")

QUIET_AFTER = 15.0
"""Seconds without a redacted picture after which a live source is not called well."""
LATE_AFTER = 120.0
"""Seconds that a parcel may wait for an open store before the page says so."""
NEARLY_FULL = 0.9
REFUSALS = ("bad_login", "not_authorized", "bad_client_id", "banned", "tls_client")
"""Why a broker does not want this box; anything else may pass by itself."""


class Answer(TypedDict):
    """One answer: a state, the word for it, a sentence, and what to do."""

    state: State
    word: str
    text: str
    hint: str


class Verdict(TypedDict):
    """What the page shows on top."""

    overall: Overall
    safe: Answer
    seeing: Answer
    sending: Answer
    #: left out where there is no broker
    heard: NotRequired[Answer]


def judge(status: BoxStatus) -> Verdict:
    """Answer the questions, and fold them into the overall state."""
    safe = is_it_safe(status["safe"])
    seeing = is_it_seeing(status["seeing"], status["uploads"])
    sending = is_it_sending(status["sending"])
    answers = [safe, seeing, sending]
    if "upstream" in status:
        answers.append(is_it_heard(status["upstream"]))
    own = status["overall"]
    state = max(own["state"], *(a["state"] for a in answers), key=_RANK.__getitem__)
    reasons: list[Reason] = [
        {"text": answer["text"], "hint": answer["hint"]}
        for answer in answers
        if answer["state"] != "ok"
    ]
    if (failed := gpu_failed(status)) is not None:
        state = max(state, "degraded", key=_RANK.__getitem__)
        reasons.append(failed)
    known = {reason["text"] for reason in reasons}
    reasons += [reason for reason in own["reasons"] if reason["text"] not in known]
    overall: Overall = {"state": state, "reasons": reasons}
    verdict: Verdict = {"overall": overall, "safe": safe, "seeing": seeing, "sending": sending}
    if len(answers) > len(("safe", "seeing", "sending")):
        verdict["heard"] = answers[-1]
    return verdict


def gpu_failed(status: BoxStatus) -> Reason | None:
    """Say that the GPU failed within the last hour, and who looks now; None: it did not."""
    faults = status["engines"]["faults"] if "engines" in status else 0
    if not faults:
        return None
    times = "once" if faults == 1 else f"{faults} times"
    looks = engine_name(status["safe"]["engine"]) or "nothing"
    text = f"The GPU failed {times} within an hour; {looks} looks."
    return {"text": text, "hint": FAULTS_HINT}


def is_it_safe(safe: Safe) -> Answer:
    """Say whether people are covered, by what, and whether anything can leave at all."""
    if not safe["blurring"]:
        why = (safe["reason"] or "no engine answers").rstrip(".")
        return _answer("failed", "Shut", f"Nothing leaves the box: {why}.", safe["hint"])
    if safe["safe_mode"]:
        text = "No trained model looks: all that moves is covered, still pictures are withheld."
        return _answer("degraded", "Safe mode", text, safe["hint"] or "Install a model: edge model")
    if safe["reason"]:
        text = f"People are covered, but not as configured: {safe['reason'].rstrip('.')}."
        return _answer("degraded", "Safe, with a doubt", text, safe["hint"])
    how = {"fill": "by one colour", "blur": "by a blur"}.get(safe["method"], "by coarse cells")
    return _answer("ok", "Yes, safe", f"Everyone whom {safe['model']} finds is covered {how}.", "")


def is_it_seeing(sources: list[Seeing], uploads: Mapping[str, int]) -> Answer:
    """Say how many of the sources that should bring pictures do."""
    sources = [source for source in sources if source["kind"] != "upload"]
    cameras = [source for source in sources if source["state"] != "disabled"]
    if sources and not cameras:
        hint = "Switch one on: edge ctl source.enable name=NAME."
        return _answer("degraded", "No", "Every source is switched off.", hint)
    if not cameras:
        if any(uploads.values()):
            return _answer("ok", "Ready", "No camera is set up; uploads are taken.", "")
        hint = "Add a [sources.NAME] table to the configuration, or upload a picture."
        return _answer("degraded", "Not yet", "No camera is set up; uploads are taken.", hint)
    bad = [source for source in cameras if trouble(source)]
    if not bad:
        return _answer("ok", "Yes, seeing", f"{_all(len(cameras))} pictures.", "")
    first = bad[0]
    text = f"{first['name']}: {trouble(first)}."
    if len(bad) > 1:
        text = f"{count(len(bad))} of {count(len(cameras))} sources do not see. {text}"
    none = len(bad) == len(cameras)
    return _answer(
        "failed" if none else "degraded", "No" if none else "Partly", text, first["hint"]
    )


def trouble(source: Seeing) -> str:
    """Say in words why a source does not bring pictures; empty where it does, or need not."""
    state, why = source["state"], source["reason"]
    if state in ("connecting", "stalled", "waiting", "failed"):
        words = {"waiting": "waits for the next try", "failed": "failed"}.get(state, state)
        return f"{words}: {why}" if why else words
    if state != "streaming" or source["kind"] not in LIVE:
        return ""
    shown = source["shown_age"]
    if shown is not None and shown > QUIET_AFTER:
        return f"brings frames, but no picture came out for {age(shown)}"
    return ""


def is_it_sending(sending: Sending) -> Answer:
    """Say whether the store takes pictures, and what waits."""
    one = sending["waiting"] == 1
    noun, wait = ("picture", "waits") if one else ("pictures", "wait")
    waiting = f"{count(sending['waiting'])} {noun} ({size(sending['bytes'])})"
    full = sending["bytes"] >= NEARLY_FULL * sending["max_bytes"] > 0
    if not sending["up"]:
        why = f" ({sending['reason']})" if sending["reason"] else ""
        if full:
            text = f"The store is away{why} and the outbox is nearly full: {waiting} {wait}."
            return _answer("failed", "No", text, sending["hint"])
        text = f"The store is away{why}. {waiting} {wait} safely on this box."
        return _answer("degraded", "Waiting", text, sending["hint"])
    oldest = sending["oldest"] or 0.0
    if full or oldest > LATE_AFTER:
        text = f"{waiting} {wait}, the oldest for {age(oldest)}."
        return _answer(
            "degraded", "Behind", text, sending["hint"] or "The store is slower than the cameras."
        )
    if sending["waiting"]:
        return _answer("ok", "Yes, sending", f"{waiting} {'is' if one else 'are'} on the way.", "")
    return _answer("ok", "Yes, sending", "The store has every picture.", "")


def is_it_heard(upstream: Upstream) -> Answer:
    """Say whether the broker hears the box, and what waits for it."""
    one = upstream["waiting"] == 1
    noun, wait = ("message", "waits") if one else ("messages", "wait")
    waiting = f"{count(upstream['waiting'])} {noun} ({size(upstream['bytes'])})"
    full = upstream["bytes"] >= NEARLY_FULL * upstream["max_bytes"] > 0
    if upstream["state"] != "up":
        return _unheard(upstream, f"{waiting} {wait}", full=full)
    refused = upstream["refused"]
    if refused:
        topic, why = next(iter(refused.items()))
        text = f"The broker refuses {topic}: {why.rstrip('.')}."
        return _answer("degraded", "Partly", text, "Let the broker's access list allow it.")
    oldest = upstream["oldest"] or 0.0
    if upstream["plan"] and upstream["waiting"]:
        return _answer("ok", "Yes, as planned", f"{waiting} {wait}: {upstream['plan']}.", "")
    if full or oldest > LATE_AFTER:
        text = f"{waiting} {wait}, the oldest for {age(oldest)}."
        if upstream["estimate"] is not None:
            text += f" They are through in about {age(upstream['estimate'])}."
        return _answer("degraded", "Catching up", text, "")
    if upstream["waiting"]:
        text = f"{waiting} {'is' if one else 'are'} on the way."
        return _answer("ok", "Yes, heard", text, "")
    return _answer("ok", "Yes, heard", "The broker has every message.", "")


def _unheard(upstream: Upstream, waiting: str, *, full: bool) -> Answer:
    why = f": {upstream['reason'].rstrip('.')}" if upstream["reason"] else ""
    word = "Refused" if upstream["code"] in REFUSALS else "Offline"
    if not why:
        word = "Connecting"
    if full:
        text = f"The broker does not hear the box{why}. {waiting}, and the room is nearly used up."
        return _answer("failed", word, text, upstream["hint"])
    safely = f"{waiting} safely on this box." if upstream["waiting"] else "Nothing waits."
    return _answer(
        "degraded", word, f"The broker does not hear the box{why}. {safely}", upstream["hint"]
    )


def _all(number: int) -> str:
    return "The one source brings" if number == 1 else f"All {number} sources bring"


def _answer(state: State, word: str, text: str, hint: str) -> Answer:
    return {"state": state, "word": word, "text": text, "hint": hint}
