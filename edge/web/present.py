"""What the templates show, made of facts: words, shapes and rounded numbers. No markup in here."""

from __future__ import annotations

from typing import Any, TypedDict
from urllib.parse import quote

from edge.web.present_energy import energy_facts
from edge.web.present_engines import engines_model
from edge.web.verdict import LIVE, Verdict, judge, trouble
from edge.web.view import BoxStatus, Commanded, Seeing, Upstream
from edge.web.words import age, count, moment, rate, sentence, size

STALE_AFTER = 10.0
"""Seconds after which a picture is shown as an old one."""

_WORDS = {
    "connecting": "Connecting",
    "streaming": "Live",
    "stalled": "Stalled",
    "waiting": "Trying again",
    "disabled": "Off",
    "finished": "Finished",
    "failed": "Failed",
}
OVERALL = {"ok": "All is well", "degraded": "Needs attention", "failed": "Not working"}


class Card(TypedDict):
    """One source as the page shows it."""

    name: str
    kind: str
    #: ``ok``, ``degraded``, ``failed`` or ``idle``: which shape and colour
    state: str
    word: str
    why: str
    hint: str
    where: str
    #: addresses of the preview; empty where there is no picture
    still: str
    live: str
    shown: str
    width: int
    height: int
    #: age of the picture shown, in words and as the time it was taken
    shown_age: str
    shown_at: str
    old: bool
    facts: list[tuple[str, str]]


def page_model(status: BoxStatus) -> dict[str, Any]:
    """Return everything that ``main.html`` needs."""
    verdict = judge(status)
    answers = _answers(status, verdict)
    told = {answer["text"] for answer in answers}
    overall = verdict["overall"]
    return {
        "overall": overall["state"],
        "overall_word": OVERALL[overall["state"]],
        "more_reasons": [r for r in overall["reasons"] if r["text"] not in told],
        "answers": answers,
        "safe_mode": status["safe"]["safe_mode"],
        "shut": not status["safe"]["blurring"],
        "why": sentence(status["safe"]["reason"]),
        "todo": status["safe"]["hint"],
        "engines": engines_model(status["engines"]) if "engines" in status else None,
        "cards": [card(source) for source in status["seeing"]],
        "notices": [{**notice, "clock": notice["at"][11:19]} for notice in status["notices"]],
        "commands": [_commanded(one) for one in status["commands"]],
        "box": status["box"],
        "clock": moment(status["box"]["clock"]),
        "uptime": age(status["box"]["uptime"]),
    }


def _answers(status: BoxStatus, verdict: Verdict) -> list[dict[str, Any]]:
    """Return the questions, each with its answer and the facts behind it."""
    answers: list[dict[str, Any]] = [
        {"id": "safe", "facts": _safe(status), **verdict["safe"]},
        {"id": "seeing", "facts": _seeing(status), **verdict["seeing"]},
        {"id": "sending", "facts": _sending(status), **verdict["sending"]},
    ]
    if "upstream" in status and "heard" in verdict:
        answers.append({"id": "heard", "facts": _heard(status["upstream"]), **verdict["heard"]})
    return [{"question": f"Is it {answer['id']}?", **answer} for answer in answers]


def _commanded(command: Commanded) -> dict[str, str]:
    """Return how a command is shown."""
    failed = command["outcome"] in ("error", "expired", "refused", "unknown")
    said = f"{command['outcome']}: {command['code']}" if command["code"] else command["outcome"]
    return {
        "verb": command["verb"] or "not readable",
        "by": " ".join(part for part in (command["channel"], command["who"]) if part),
        "said": said.replace("_", " "),
        "state": "degraded" if failed else "ok" if command["outcome"] == "ok" else "idle",
        "at": command["at"],
        "clock": moment(command["at"]),
    }


def card(source: Seeing) -> Card:
    """Return how one source is shown."""
    problem = trouble(source)
    picture = source["shown"] is not None
    width, height = source["size"] or (16, 9)
    address = f"/live/{quote(source['name'], safe='')}"
    return {
        "name": source["name"],
        "kind": source["kind"],
        "state": _shape(source, problem),
        "word": _word(source, problem),
        "why": problem if source["state"] == "streaming" else source["reason"],
        "hint": source["hint"],
        "where": source["where"],
        "still": f"{address}/latest" if picture else "",
        "live": f"{address}.mjpg" if picture else "",
        "shown": source["shown"] or "",
        "width": width,
        "height": height,
        "shown_age": age(source["shown_age"]),
        "shown_at": moment(source["shown_at"]),
        "old": _old(source),
        "facts": _card_facts(source),
    }


def _old(source: Seeing) -> bool:
    """Tell whether the picture of a live source is not how it looks there now."""
    if source["kind"] not in LIVE or source["state"] == "finished":
        return False
    return source["state"] != "streaming" or (source["shown_age"] or 0.0) > STALE_AFTER


def _shape(source: Seeing, problem: str) -> str:
    if source["state"] in ("disabled", "finished"):
        return "idle"
    if source["state"] == "failed":
        return "failed"
    return "degraded" if problem else "ok"


def _word(source: Seeing, problem: str) -> str:
    if source["state"] == "streaming":
        if problem:
            return "No picture"
        if source["kind"] in ("upload", "folder"):
            return "Ready"
    return _WORDS.get(source["state"], source["state"])


def _card_facts(source: Seeing) -> list[tuple[str, str]]:
    facts = [("Redacted", count(source["redacted"])), ("Dropped", count(source["dropped"]))]
    if source["kind"] in LIVE:
        speed = f"{rate(source['fps'])} in, {rate(source['redacted_fps'])} out"
        facts.insert(0, ("Pictures a second", speed))
    facts += [
        (word, count(number))
        for word, number in (("Withheld", source["withheld"]), ("Refused", source["rejected"]))
        if number
    ]
    return facts


def _safe(status: BoxStatus) -> list[tuple[str, str]]:
    safe = status["safe"]
    model, engine = safe["model"] or "none", safe["engine"] or "none"
    if safe["model_wanted"] not in ("", safe["model"]):
        model += f" (wanted: {safe['model_wanted']})"
    if safe["engine_wanted"] not in ("", "auto", safe["engine"]):
        engine += f" (wanted: {safe['engine_wanted']})"
    if safe["seconds"] is not None and safe["engine"]:
        engine += f", {safe['seconds'] * 1000:.0f} ms a picture"
    withheld = sum(safe["withheld"].values())
    reasons = ", ".join(
        f"{name.replace('_', ' ')} {count(n)}" for name, n in safe["withheld"].items()
    )
    return [
        ("Method", safe["method"]),
        ("Model", model),
        ("Engine", engine),
        ("Withheld", f"{count(withheld)} ({reasons})" if withheld else "none"),
    ]


def _seeing(status: BoxStatus) -> list[tuple[str, str]]:
    sources = status["seeing"]
    uploads = status["uploads"]
    facts = [
        ("Coming in", f"{rate(sum(s['fps'] for s in sources))} pictures a second"),
        ("Redacted", f"{rate(sum(s['redacted_fps'] for s in sources))} pictures a second"),
        ("Dropped", count(sum(s["dropped"] for s in sources))),
    ]
    if any(uploads.values()):
        words = ", ".join(f"{count(n)} {state}" for state, n in uploads.items() if n)
        facts.append(("Uploads", words))
    if "energy" in status:
        facts += energy_facts(status["energy"])
    return facts


def _sending(status: BoxStatus) -> list[tuple[str, str]]:
    sending = status["sending"]
    waiting = "none"
    if sending["waiting"]:
        waiting = f"{count(sending['waiting'])} ({size(sending['bytes'])})"
        if sending["oldest"] is not None:
            waiting += f", oldest {age(sending['oldest'])}"
    last = moment(sending["last_success"]) or "not yet"
    facts = [
        ("Store", sending["store"]),
        ("Waiting", waiting),
        ("Last stored", last),
        ("Stored", count(sending["stored"])),
    ]
    if sending["dead"]:
        facts.append(("Refused by the store", count(sending["dead"])))
    if sending["events"]:
        facts.append(("Events waiting", count(sending["events"])))
    if sending["letters"]:
        facts.append(("Dead letters", count(sending["letters"])))
    return facts


def _heard(upstream: Upstream) -> list[tuple[str, str]]:
    waiting = "none"
    if upstream["waiting"]:
        waiting = f"{count(upstream['waiting'])} ({size(upstream['bytes'])})"
        if upstream["oldest"] is not None:
            waiting += f", oldest {age(upstream['oldest'])}"
    facts = [
        ("Broker", upstream["broker"]),
        ("Known there as", upstream["client_id"]),
        ("Protocol", f"MQTT {upstream['protocol']}" if upstream["protocol"] else "not known yet"),
        ("Waiting", waiting),
    ]
    classes = [one for one in upstream["classes"] if one["waiting"]]
    if classes:
        words = ", ".join(f"{one['name']} {count(one['waiting'])}" for one in classes)
        facts.append(("By class", words))
    if upstream["estimate"] and upstream["state"] == "up":
        facts.append(("Through in about", age(upstream["estimate"])))
    if upstream["plan"]:
        facts.append(("Plan", upstream["plan"]))
    facts += [
        ("Last delivered", moment(upstream["last_delivered"]) or "not since the start"),
        ("Delivered", count(upstream["delivered"])),
    ]
    if upstream["lost"]:
        facts.append(("Gave way unsent", count(upstream["lost"])))
    return facts
