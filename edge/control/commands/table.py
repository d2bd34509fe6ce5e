"""The table of verbs: what each takes, answers and needs. Documentation and schemas come from it.

A verb's effect is a function over the box (``box.py``). ``EFFECTS`` in ``effects.py`` has one for
each row, and a test holds that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edge.control.commands import arguments as take
from edge.control.commands import results as give

Class = Literal["read", "operate", "change", "privacy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One verb."""

    name: str
    #: ``read``: it changes nothing; ``operate``: pause, test, restart; ``change``: what the box
    #: does; ``privacy``: how people are covered
    kind: Class
    #: what it does, in one line
    text: str
    takes: type[take.Args] = take.Nothing
    answers: type[give.Result] = give.Done
    #: doing it twice is doing it once: it may be done again where nobody knows whether it was
    idempotent: bool = True
    #: it may take minutes, and says how far it is
    long: bool = False
    #: seconds that it may take
    limit: float = 15.0
    #: many boxes may be told at once
    group: bool = False
    #: from the box itself only
    local: bool = False
    #: it ends the process: its reply is kept before it takes effect
    last: bool = False


_ROWS = (
    Verb(name="ping", kind="read", text="Say which box this is, and its time.",
         answers=give.About, group=True),
    Verb(name="status.get", kind="read", text="Say how the box is: all that the page says.",
         answers=give.Facts, group=True),
    Verb(name="source.add", kind="change", text="Add a source until the next restart.",
         takes=take.AddSource, answers=give.OfSource, idempotent=False),
    Verb(name="source.enable", kind="change", text="Start a source that was disabled.",
         takes=take.Source, answers=give.OfSource),
    Verb(name="source.disable", kind="change", text="Stop a source but keep its place.",
         takes=take.Source, answers=give.OfSource),
    Verb(name="source.remove", kind="change", text="Remove a source until the next restart.",
         takes=take.Source, answers=give.OfSource, idempotent=False),
    Verb(name="source.snapshot", kind="read",
         text="Name the newest redacted picture of a source; the store has it by its key.",
         takes=take.Source, answers=give.Snapshot),
    Verb(name="source.test", kind="operate", text="Wait for a picture of a source to come in.",
         takes=take.TestSource, answers=give.Tested, long=True, limit=90.0),
    Verb(name="privacy.raise", kind="privacy",
         text="Cover more. Stays across restarts; nothing can be lowered with it.",
         takes=take.Raise, answers=give.Floor, group=True, limit=60.0),
    Verb(name="privacy.release", kind="privacy",
         text="Give up what privacy.raise set: the file alone counts again.",
         answers=give.Floor, local=True),
    Verb(name="privacy.selftest", kind="privacy",
         text="Show the engine drawn people, and say whether they would be covered.",
         answers=give.SelfTested, group=True, limit=60.0),
    Verb(name="sync.pause", kind="operate",
         text="Send nothing to store and broker; all of it waits on the box.",
         takes=take.Pause, answers=give.Sync, group=True),
    Verb(name="sync.resume", kind="operate", text="Deliver again.", answers=give.Sync, group=True),
    Verb(name="sync.now", kind="operate",
         text="Send what waits now, whatever back-off and bandwidth plan say.",
         answers=give.Sync, group=True),
    Verb(name="spool.stats", kind="read", text="Say what waits, and how much room there is.",
         answers=give.Facts, group=True),
    Verb(name="dlq.list", kind="read", text="List dead letters, the oldest first.",
         takes=take.ListLetters, answers=give.Letters),
    Verb(name="dlq.replay", kind="operate", text="Deliver dead letters anew.",
         takes=take.Letters, answers=give.Count, idempotent=False, limit=60.0),
    Verb(name="dlq.drop", kind="change", text="Forget dead letters for good.",
         takes=take.Letters, answers=give.Count, limit=60.0),
    Verb(name="config.get", kind="read", text="Show the configuration in effect, without secrets.",
         takes=take.Get, answers=give.Facts),
    Verb(name="config.validate", kind="read", text="Name every fault of a configuration.",
         takes=take.Toml, answers=give.Validated),
    Verb(name="config.apply", kind="change",
         text="Put a configuration on probation; it stays, or the box goes back by itself.",
         takes=take.Apply, answers=give.Applied, limit=60.0),
    Verb(name="config.report", kind="read", group=True, answers=give.Reported,
         text="Say what is in force, and what became of the newest that came from afar."),
    Verb(name="config.rollback", kind="change",
         text="Put the configuration before on probation.",
         answers=give.Applied, idempotent=False, limit=60.0),
    Verb(name="model.ls", kind="read", text="List the models on this box.", answers=give.Models),
    Verb(name="model.pull", kind="change", text="Fetch a known model from its public address.",
         takes=take.Model, answers=give.Models, long=True, limit=1800.0, group=True),
    Verb(name="model.use", kind="change",
         text="Let another installed model look, until the next restart; from afar only one that "
         "covers as many people.",
         takes=take.UseModel, answers=give.Serving, long=True, limit=120.0),
    Verb(name="engine.rebuild", kind="operate", answers=give.Done, long=True, limit=7200.0,
         text="Build this GPU's engine anew; the box looks meanwhile, and swaps if it agrees."),
    Verb(name="engine.build", kind="operate", takes=take.BuildEngine, answers=give.Building,
         text="Begin to build the GPU's engine of a model; status.get says how far it is.",
         limit=60.0),
    Verb(name="engine.cancel", kind="operate", text="Stop the build that goes on.",
         answers=give.Cancelled, limit=60.0),
    Verb(name="engine.use", kind="change", takes=take.UseEngine, answers=give.Serving,
         text="Let another engine look, until the next restart, if it sees what it has to.",
         long=True, limit=600.0),
    Verb(name="log.level", kind="operate", text="Log more or less, until the next restart.",
         takes=take.Level, answers=give.Done, group=True),
    Verb(name="bundle.create", kind="operate", answers=give.Bundle, long=True, limit=60.0,
         text="Pack what support needs to know into a file on the box: no secrets, no pictures."),
    Verb(name="audit.recent", kind="read", text="Show the newest commands that came.",
         takes=take.Recent, answers=give.Audit),
    Verb(name="audit.verify", kind="read", text="Check that the audit log is whole.",
         answers=give.Verified, limit=60.0),
    Verb(name="service.restart", kind="operate",
         text="Stop in order; the service manager starts Edge again.",
         answers=give.Done, last=True, group=True, idempotent=False),
)  # fmt: skip

VERBS: Mapping[str, Verb] = {verb.name: verb for verb in _ROWS}
"""Every verb by its name."""
