"""Which configuration counts: the operator's file, or one that came from afar and has shown itself.

``begin`` decides at each start; ``BoxConfigured`` puts another one into force while the box runs.
Implements ``control.desired.ConfiguredBox`` over the parts that ``app.Box`` has opened.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.app import same_view
from edge.app.checks import faults
from edge.app.model_cover import covers_less
from edge.app.secret_ways import astray
from edge.config.diff import Change, changes
from edge.config.load import Loaded, examine, examine_tables, parsed, tables_in
from edge.config.load_faults import ConfigError
from edge.config.privacy import Policy, SourcePrivacy
from edge.config.root import BoxConfig, Config, state_directory
from edge.control.commands.envelope import Failed
from edge.control.commands.ratchet import weaker
from edge.control.desired_box import Beginning, Examined
from edge.control.desired_state import Fine, Standing, StandingFile, digest_of
from edge.ops.redact_url import without_credentials

if TYPE_CHECKING:
    from edge.app.box import Box

log = logging.getLogger(__name__)

LIVE = ("sources", "privacy", "log", "triggers", "handlers", "upstream")
"""Sections that a running box takes over, in so far as their keys are live."""
SYSTEM_FILE, SERVICE_STATE = Path("/etc/edge/edge.toml"), Path("/var/lib/edge")
"""The service's file, and its state where the file does not say."""
WELL = ("streaming", "finished")
"""States of a source that is well."""


_IN_WORDS = {
    "probation": "The configuration {id} from afar is on probation",
    "applied": "The configuration {id} from afar is in force in the place of the file",
    "rejected": "The configuration {id} from afar was refused",
    "rolled_back": "The configuration {id} from afar did not work; the box went back",
    "superseded": "The file was changed: what came from afar is set aside",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What counts at a start."""

    loaded: Loaded
    beginning: Beginning


def begin(path: Path, now: float | None = None) -> Begun:
    """Decide what counts at this start, and count the start where something is on probation.

    Raises:
        ConfigError: the operator's file counts, and has faults.

    """
    now = time.time() if now is None else now
    tables = tables_in(path)
    file = StandingFile(_state(path, tables))
    before = file.read()
    standing = before.for_file(digest_of(tables), now).started(now)
    if standing is not before and not _written(file, standing):
        # starts that cannot be counted would never end
        standing = standing.back("the start could not be noted on the disk", now)
    loaded, after = _first_good(path, standing, now)
    if after is not standing:
        log.error("a configuration from afar does not count any more: %s", after.report.reason)
        _written(file, after)
    return Begun(loaded=loaded, beginning=Beginning(file=file, standing=after, tables=tables))


def look(path: Path, *, secrets: bool = True) -> tuple[Loaded, Standing]:
    """Return what counts now, and why; nothing is changed by looking.

    Raises:
        ConfigError: it has faults.

    """
    tables = tables_in(path)
    standing = StandingFile(state_of(path, tables)).read().for_file(digest_of(tables), time.time())
    return _loaded(path, standing, secrets=secrets), standing


def state_of(path: Path, tables: Mapping[str, Any]) -> Path:
    """Return where the box of this file keeps its state, also to those who are not its service."""
    if path == SYSTEM_FILE and not _names_state(tables) and SERVICE_STATE.is_dir():
        return SERVICE_STATE  # systemd names it to the service alone
    return _state(path, tables)


def give_up(path: Path, reason: str) -> bool:
    """Go back from what is on probation, since the box cannot run with it; False: nothing is."""
    tables = tables_in(path)
    file = StandingFile(_state(path, tables))
    standing = file.read()
    if standing.trial is None:
        return False
    log.error("configuration %s did not work, going back: %s", standing.trial.id, reason)
    return _written(file, standing.back(reason[:2000], time.time()))


def _state(path: Path, tables: Mapping[str, Any]) -> Path:
    box = tables.get("box", {})
    named = box.get("state", "") if isinstance(box, dict) else ""
    if not isinstance(named, str):
        examine(path, also=faults)  # says what is wrong with it
    return state_directory(BoxConfig(state=str(named)))


def _names_state(tables: Mapping[str, Any]) -> bool:
    box = tables.get("box", {})
    return bool(os.environ.get("STATE_DIRECTORY")) or (isinstance(box, dict) and "state" in box)


def _first_good(path: Path, standing: Standing, now: float) -> tuple[Loaded, Standing]:
    while True:
        try:
            return _loaded(path, standing), standing
        except ConfigError as error:
            if standing.trial is None and standing.applied is None:
                raise
            told = tuple(dict(fault) for fault in told_of(error))
            standing = standing.back("it cannot be read any more", now, told)


def _loaded(path: Path, standing: Standing, *, secrets: bool = True) -> Loaded:
    document = standing.in_force
    if document is None:
        return examine(path, secrets=secrets, also=faults)
    return examine_tables(
        document.tables,
        f"configuration {document.id}",
        directory=path.resolve().parent,
        secrets=secrets,
        also=faults,
    )


def _written(file: StandingFile, standing: Standing) -> bool:
    try:
        file.write(standing)
    except OSError as error:
        log.error("%s: which configuration counts cannot be noted", error)  # noqa: TRY400
        return False
    return True


def told_of(error: ConfigError) -> Iterator[Mapping[str, str]]:
    """Yield the faults of a configuration as commands tell them."""
    for one in error.faults:
        yield {"path": one.path, "given": one.given, "message": one.message}


def needs_restart(old: Config, new: Config) -> list[Change]:
    """Return what differs that a running box does not take over."""
    return [one for one in changes(old, new) if not (one.live and one.path.split(".")[0] in LIVE)]


class BoxConfigured:
    """The box as desired configurations see it.

    Args:
        box: whose it is.
        path: the operator's file; None: there is none.

    """

    def __init__(self, box: Box, path: Path | None) -> None:
        self._box, self._path = box, path
        self._said = ""
        #: everything is open; before that nothing can be said to be well
        self.ready = False

    def parsed(self, toml: str) -> dict[str, Any]:
        try:
            return parsed(toml, "the configuration")
        except ConfigError as error:
            raise Failed("bad_request", str(error), hint=error.hint) from error

    def examine(self, tables: Mapping[str, Any], *, ours: bool = False) -> Examined:
        directory = None if self._path is None else self._path.resolve().parent
        try:
            config = examine_tables(
                tables, "the configuration", directory=directory, also=faults
            ).config
        except ConfigError as error:
            return Examined(faults=list(told_of(error)))
        forbidden = [] if ours else [*self._forbidden(config), *self._astray(tables)]
        if forbidden:
            return Examined(faults=forbidden, forbidden=True)
        restart = [one.path for one in needs_restart(self._box.config, config)]
        return Examined(config=config, restart=restart)

    def fine(self) -> Fine:
        box = self._box
        info = box.holder.info if box.holder.up else None
        return Fine(
            sources=tuple(one.name for one in box.sources.statuses() if one.state in WELL),
            engine=info is not None,
            trained=info is not None and not info.safe_mode,
            store=box.forwarder.status()["state"] == "up",
            broker=self._broker() == "up",
        )

    def lacks(self, fine: Fine) -> Sequence[str]:
        if not self.ready:
            return ["the box has not started"]
        now, box = self.fine(), self._box
        return [
            *self._dark(fine),
            *(["no engine is up"] if fine.engine and not now.engine else []),
            *(
                ["no trained model looks"]
                if fine.trained and not now.trained and box.config.detect.engine != "builtin"
                else []
            ),
            *(
                [f"the store: {box.forwarder.status()['reason'] or 'it took nothing yet'}"]
                if fine.store and not now.store
                else []
            ),
            *([f"the broker: {self._broker()}"] if fine.broker and not now.broker else []),
        ]

    async def take(self, config: Config) -> None:
        await self._box.take(config)

    def restart(self) -> None:
        self._box.stop()

    def _dark(self, fine: Fine) -> Iterator[str]:
        for one in self._box.sources.statuses():
            if one.name in fine.sources and one.state not in (*WELL, "disabled"):
                yield f"{one.name} is {one.state}" + (f": {one.reason}" if one.reason else "")

    def _broker(self) -> str:
        """Say why nothing can be told to the broker or heard from it; ``up``: it can."""
        link = self._box.upstream.link if self._box.upstream is not None else None
        if link is None:
            return "there is none"
        status = link.status()
        if status.state != "up":
            return status.reason or status.state
        return "; ".join(status.refused.values()) or "up"

    async def reread(self, path: Path) -> Config:
        """Read the operator's file again, and return what counts.

        A file that says something else than before counts again, whatever came from afar.

        Raises:
            ConfigError: what would count has faults; nothing is changed then.

        """
        desired = self._box.desired
        tables = await asyncio.to_thread(tables_in, path)
        if digest_of(tables) == desired.standing.file and desired.standing.in_force is not None:
            return (await asyncio.to_thread(_loaded, path, desired.standing)).config
        config = (await asyncio.to_thread(examine, path, also=faults)).config
        await desired.reread(tables)
        return config

    def notice(self) -> None:
        """Say on the page what is in force, where it is not just the file; at start and on news."""
        report = self._box.desired.report
        words = _IN_WORDS.get(report.state, "").format(id=report.id)
        if words and words != self._said:
            hint = without_credentials(report.reason) or "edge config show; edge ctl config.report"
            self._box.notices.add(words, hint)
        self._said = words

    # -- what cannot be changed from afar

    def _forbidden(self, config: Config) -> Iterator[Mapping[str, str]]:
        now = self._box.config
        for path, old, new in (
            ("control", now.control, config.control),
            ("box.state", now.box.state, config.box.state),
            # code that is run, and what decides who is seen
            ("tensorrt.library_path", now.tensorrt.library_path, config.tensorrt.library_path),
            ("models.path", now.models.path, config.models.path),
        ):
            if old != new:
                yield _fault(path, "only the file on the box itself changes this")
        if now.mqtt is not None and config.mqtt is None:
            yield _fault("mqtt", "without a broker nobody could hear how this ended")
        references = [now, *self._of_file()]
        found = dict.fromkeys(
            path
            for one in references
            for path in (*_lower(config, one), *self._lower_elsewhere(config, one))
        )
        for path in [*found, *self._threshold(config, references)]:
            yield _fault(path, "privacy can only be raised from afar")
        for why in dict.fromkeys(covers_less(config, one) for one in references):
            if why:
                yield _fault("detect.model", f"{why}: only the file on the box itself chooses it")

    def _astray(self, tables: Mapping[str, Any]) -> Iterator[Mapping[str, str]]:
        for path in astray(tables, self._box.desired.file_tables):
            yield _fault(
                path, "a secret of the file would go to somebody to whom it does not send it"
            )

    def _lower_elsewhere(self, config: Config, than: Config) -> Iterator[str]:
        """Yield the keys by which a view would be covered less under another name."""
        for name, source in config.sources.items():
            for other in same_view.others(name, source, than.sources):
                least = _policy(than, other)
                raised = self._box.commands.raised(least, other)
                least = replace(least, blackout=raised.blackout)
                for what in weaker(_policy(config, name), least):
                    yield f"sources.{name}.privacy.{what}"

    def _of_file(self) -> Iterator[Config]:
        """Yield what the operator's file says, without secrets: what it covers is the least."""
        desired = self._box.desired
        try:
            yield examine_tables(desired.file_tables, "the file", secrets=False).config
        except ConfigError:
            return

    def _threshold(self, config: Config, references: Sequence[Config]) -> Iterator[str]:
        wanted = config.detect.threshold
        limits = [one.detect.threshold for one in references]
        known = [one for one in limits if one is not None]
        if known and (wanted is None or wanted > min(known)):
            yield "detect.threshold"
        elif wanted is not None and not known:
            serving = self._box.commands.threshold()  # the model's own
            if serving is None or wanted > serving:
                yield "detect.threshold"


def _lower(config: Config, than: Config) -> Iterator[str]:
    """Yield the keys by which people would be covered less."""
    for name in weaker(_policy(config, ""), _policy(than, "")):
        yield f"privacy.{name}"
    for source in config.sources:
        for name in weaker(_policy(config, source), _policy(than, source)):
            yield f"sources.{source}.privacy.{name}"
    if config.detect.still_for < than.detect.still_for:
        yield "detect.still_for"
    if config.detect.engine == "builtin" and than.detect.engine != "builtin":
        yield "detect.engine"  # safe mode overlooks who stands still for long


def _policy(config: Config, source: str) -> Policy:
    found = config.sources.get(source)
    return config.privacy.for_source(SourcePrivacy() if found is None else found.privacy)


def _fault(path: str, message: str) -> Mapping[str, str]:
    return {"path": path, "given": "", "message": message}
