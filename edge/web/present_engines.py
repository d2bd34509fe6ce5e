"""What the page shows of the engines, made of facts: words, shapes, and which buttons there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.web.words import age, moment, sentence, size

_NAMES = {
    "tensorrt": "TensorRT",
    "openvino": "OpenVINO",
    "onnx": "ONNX Runtime",
    "builtin": "Safe mode",
}
_OPTIONS = {
    "serving": ("ok", "Looks now"),
    "ready": ("idle", "Ready"),
    "to_build": ("idle", "Not built yet"),
    "building": ("idle", "Being built"),
    "missing": ("idle", "Not here"),
    "refused": ("failed", "Refused"),
}
FAULTS_HINT = "look for Xid in the kernel's log: dmesg"
"""What to do about a GPU that fails."""
_PLANS = {
    "serving": ("ok", "Looks now"),
    "last_good": ("idle", "Last good"),
    "kept": ("idle", "Kept"),
    "refused": ("failed", "Refused"),
}


def engines_model(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that ``engines.html`` needs, of the fields of an ``EngineStatus``."""
    build, gpu = status["build"], status["gpu"]
    running = build["state"] == "running"
    shown = [_option(one, told=build["reason"]) for one in shown_options(status)]
    if being_tried(status):
        tried = {"word": "Built, and tried now", "why": "", "hint": ""}
        shown = [one | tried if one["id"] == "tensorrt" else one for one in shown]
    if is_substitute(status):
        waits = {"word": "Waits for a model", "why": "", "may_use": False}
        shown = [one | waits if one["may_use"] else one for one in shown]
    return {
        "now": _now(status, shown),
        "wanted": "" if status["wanted"] == "auto" else engine_name(status["wanted"]),
        "options": [one for one in shown if one["id"] != status["serving"]],
        "build": None if build["state"] == "idle" else _build(build, tried=being_tried(status)),
        "may_build": not running and may_build(status),
        "built": build["state"] == "done" or bool(status["plans"]),
        "plans": [_plan(one, status["model"]) for one in status["plans"]],
        "gpu": None if gpu is None else _gpu(status, gpu),
    }


def is_substitute(status: Mapping[str, Any]) -> bool:
    """Tell whether safe mode looks because there is no model for what was asked for."""
    return bool(status["serving"] == "builtin" != status["wanted"])


def engine_name(name: str) -> str:
    """Return how people call an engine; empty stays empty."""
    return _NAMES.get(name, name)


def shown_options(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the engines to speak of: one that needs a GPU only where there is one, or on order."""
    return [one for one in status["options"] if one["name"] != "tensorrt" or _spoken_of(status)]


def may_build(status: Mapping[str, Any]) -> bool:
    """Tell whether a build could be asked for: there is a GPU, and what it takes to build."""
    gpu = status["gpu"]
    return gpu is not None and gpu["usable"] and bool(gpu["library"])


def being_tried(status: Mapping[str, Any]) -> bool:
    """Tell whether an engine was built a moment ago, and nobody knows yet what it is worth."""
    return bool(status.get("trying"))


def _now(status: Mapping[str, Any], shown: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what serves, why, and how it was found fit."""
    name = engine_name(status["serving"])
    measured = next((one["measured"] for one in shown if one["id"] == status["serving"]), "")
    return {
        "title": f"{name} looks with {status['model']}" if name else "No engine looks",
        "state": "failed" if not name else "degraded" if is_substitute(status) else "ok",
        "why": sentence(status["why"]),
        "measured": measured,
        "canary": sentence(status["canary"]),
        "faults": _faults(status["faults"]),
    }


def _spoken_of(status: Mapping[str, Any]) -> bool:
    gpu = status["gpu"]
    return status["wanted"] == "tensorrt" or (gpu is not None and bool(gpu["usable"]))


def _option(option: Mapping[str, Any], told: str) -> dict[str, Any]:
    """Return how an engine is shown; ``told`` is said of the build already."""
    why, hint = option["why"], option["hint"]
    if why == told:
        why, hint = "", ""
    state, word = _OPTIONS.get(option["state"], ("idle", option["state"]))
    took, agreement = option["milliseconds"], option["agreement"]
    speed = "" if took is None else f"{milliseconds(took)} ms a picture"
    if speed in why:
        speed = ""
    agrees = "" if agreement is None else _agreement(agreement)
    return {
        "id": option["name"],
        "name": engine_name(option["name"]),
        "state": state,
        "word": word,
        "why": sentence(why),
        "hint": hint,
        "measured": " · ".join(part for part in (speed, agrees) if part),
        # safe mode hides everything: nobody gets there by one press
        "may_use": option["state"] == "ready" and option["name"] != "builtin",
    }


def milliseconds(value: float) -> str:
    """Write milliseconds with as many digits as mean something."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _agreement(agreement: Mapping[str, Any]) -> str:
    counted = f"{agreement['found']} of {agreement['compared']} people found alike"
    return sentence(agreement["text"] or counted)


def _build(build: Mapping[str, Any], *, tried: bool) -> dict[str, Any]:
    share, state = build["share"], build["state"]
    took = age(build["seconds"])
    now = ", and is tried now" if tried else ""
    title, shape = {
        "running": (f"Building an engine for {build['model']}", "idle"),
        "done": (f"The engine for {build['model']} was built in {took}{now}", "ok"),
        "failed": (f"The engine for {build['model']} could not be built", "failed"),
        "cancelled": (f"The build for {build['model']} was stopped", "idle"),
    }.get(state, (state, "idle"))
    return {
        "running": state == "running",
        "state": shape,
        "title": title,
        "phase": build["phase"],
        "percent": None if share is None else int(100 * min(1.0, max(0.0, share))),
        "took": took,
        "reason": sentence(build["reason"]),
        "hint": build["hint"],
    }


def _plan(plan: Mapping[str, Any], model: str) -> dict[str, Any]:
    state, word = _PLANS.get(plan["state"], ("idle", plan["state"]))
    took = f", built in {age(plan['seconds'])}" if plan["seconds"] else ""
    return {
        "key": plan["key"],
        "short": plan["key"][:12],
        "model": plan["model"],
        "state": state,
        "word": word,
        "about": f"{plan['library']}, {plan['device']}, {size(plan['bytes'])}{took}",
        "at": plan["built_at"],
        "clock": moment(plan["built_at"]),
        "why": sentence(plan["why"]),
        "may_use": plan["state"] in ("last_good", "kept") and plan["model"] == model,
    }


def _gpu(status: Mapping[str, Any], gpu: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of the GPU; a box that has and wants none is told to do nothing."""
    hint = gpu["hint"] if _spoken_of(status) else ""
    encoder = status.get("encoder")
    facts = [*gpu_facts(gpu), *([("JPEGs", encoder)] if encoder else [])]
    return {"facts": facts, "lacks": sentence(gpu["lacks"]), "hint": hint}


def gpu_facts(gpu: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what is known of the GPU as names and values; a box without one has one line."""
    if not gpu["usable"]:
        return [("GPU", "none")]
    major, minor = gpu["capability"]
    memory = f"{size(gpu['memory'])}{', shared with the processor' if gpu['integrated'] else ''}"
    library = " ".join(part for part in (gpu["library"], gpu["library_version"]) if part)
    return [
        ("GPU", gpu["device"]),
        ("Compute capability", f"{major}.{minor}"),
        ("Memory", memory),
        ("Driver", f"for CUDA {gpu['driver']}"),
        ("Library", library or "none"),
        ("pycuda", gpu["pycuda"] or "none"),
    ]


def _faults(number: int) -> str:
    if not number:
        return ""
    times = "once" if number == 1 else f"{number} times"
    return f"The GPU failed {times} within the last hour: {FAULTS_HINT}."
