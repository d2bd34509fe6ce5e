"""``/v1/dlq``: dead letters are listed, shown, delivered anew, or forgotten."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, TypeVar

from aiohttp import web
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from edge.cloudevents import json_format
from edge.event import Value
from edge.traffic import DeadLetters, Letter, LetterQuery
from edge.web.bodies import read_json
from edge.web.problems import Refused
from edge.web.traffic_json import letter_json
from edge.web.view import BoxView

MOST = 1000
"""Letters in one answer at most."""
_DAY = re.compile(r"\d{4}-\d\d-\d\dT")
_ZONE = re.compile(r" (?=\d\d:?\d\d$)")


def _no_number(given: object) -> object:
    """Refuse what pydantic would take for seconds: 20260504 is no day in 1970."""
    if isinstance(given, str) and _DAY.match(given):
        return given
    raise ValueError("expected a time like 2026-05-04T09:30:00Z")


Time = Annotated[AwareDatetime, BeforeValidator(_no_number)]


class _Filters(BaseModel):
    """Which letters; several filters must all match."""

    # a filter that is misspelt must not match every letter
    model_config = ConfigDict(extra="forbid")

    ids: list[str] | None = Field(None, min_length=1)
    trigger: str = ""
    reason: str = ""
    type: str = ""
    source: str = ""
    subject: str = ""
    since: Time | None = None
    until: Time | None = None

    def query(self) -> LetterQuery:
        return LetterQuery(
            ids=self.ids or (),
            trigger=self.trigger,
            reason=self.reason,
            type=self.type,
            source=self.source,
            subject=self.subject,
            since=self.since.timestamp() if self.since else None,
            until=self.until.timestamp() if self.until else None,
        )


class _Page(_Filters):
    limit: int = Field(100, ge=1, le=MOST)
    after: str = ""


class _Order(_Filters):
    limit: int | None = Field(None, ge=1)
    all: bool = False
    dry_run: bool = False


_Given = TypeVar("_Given", bound=BaseModel)


class DeadLetterApi:
    """Shows dead letters, and does with them what a person says."""

    def __init__(self, view: BoxView) -> None:
        self._view = view

    def routes(self) -> list[web.RouteDef]:
        """Return what this part answers."""
        return [
            web.get("/v1/dlq", self.all),
            web.post("/v1/dlq/replay", self.replay),
            web.post("/v1/dlq/drop", self.drop),
            web.get("/v1/dlq/{id}", self.one),
        ]

    async def all(self, request: web.Request) -> web.StreamResponse:
        """Answer with a page of letters, the oldest first; ``next`` goes into ``after``."""
        asked = _read(_Page, _parameters(request))
        query = replace(asked.query(), limit=asked.limit + 1, after=asked.after)
        found = await self._view.traffic.letters(query)
        shown = found[: asked.limit]
        more = shown[-1].id if len(found) > asked.limit else None
        return web.json_response({"letters": [letter_json(one) for one in shown], "next": more})

    async def one(self, request: web.Request) -> web.StreamResponse:
        """Answer with one letter and its event."""
        letter_id = request.match_info["id"]
        letter = await self._view.traffic.letter(letter_id)
        if letter is None:
            hint = "it was replayed or dropped, or it was never here: GET /v1/dlq lists them"
            raise Refused(404, "not_found", f"there is no dead letter {letter_id!r}", hint=hint)
        # the event's data stays as it came, to the digit
        facts = json.dumps(letter_json(letter)).encode().removesuffix(b"}")
        body = facts + b', "event": ' + _event(letter) + b"}"
        return web.Response(body=body, content_type="application/json", charset="utf-8")

    async def replay(self, request: web.Request) -> web.StreamResponse:
        """Deliver letters anew."""
        return await self._carry_out("replay", request)

    async def drop(self, request: web.Request) -> web.StreamResponse:
        """Forget letters for good."""
        return await self._carry_out("drop", request)

    async def _carry_out(self, verb: str, request: web.Request) -> web.StreamResponse:
        order = _read(_Order, await read_json(request))
        query = replace(order.query(), limit=order.limit)
        if not order.all and query == LetterQuery(limit=order.limit):
            hint = 'name some (ids, trigger, reason, type, source, subject …), or say "all": true'
            raise Refused(422, "needs_all", f"this would {verb} every dead letter", hint=hint)
        letters: DeadLetters = self._view.traffic
        answer: dict[str, Any] = {"verb": verb, "dry_run": order.dry_run}
        if order.dry_run:
            return web.json_response(answer | await _counts(letters, query))
        count = await (letters.replay if verb == "replay" else letters.drop)(query)
        return web.json_response(answer | {"count": count})


def _event(letter: Letter) -> bytes:
    """Return the event as it came, with what CloudEvents brokers say of why it died."""
    if letter.event is None:
        return b"null"
    died: dict[str, Value] = {
        "knativeerrordest": letter.where,
        "knativeerrorcode": letter.code,
        "knativeerrordata": letter.answer,
    }
    told = {name: value for name, value in died.items() if value != ""}
    event = replace(letter.event, extensions={**letter.event.extensions, **told})
    return json_format.encode(event)


async def _counts(letters: DeadLetters, query: LetterQuery) -> dict[str, Any]:
    """Return how many letters there are, of what; page by page, so that memory stays small."""
    triggers: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    count = size = 0
    after = ""
    while (most := MOST if query.limit is None else min(MOST, query.limit - count)) > 0:
        page = await letters.letters(replace(query, limit=most, after=after))
        triggers.update(letter.trigger for letter in page)
        reasons.update(letter.reason for letter in page)
        count += len(page)
        size += sum(letter.bytes for letter in page)
        if len(page) < most:
            break
        after = page[-1].id
    return {"count": count, "bytes": size, "triggers": dict(triggers), "reasons": dict(reasons)}


def _parameters(request: web.Request) -> Mapping[str, object]:
    """Return the query's parameters. In one, a plus sign that was not encoded reads as a space."""
    given: dict[str, object] = {}
    for name in request.query:
        values = request.query.getall(name)
        if name != "ids" and len(values) > 1:
            raise Refused(400, "bad_request", f"{name} is given twice")
        given[name] = values if name == "ids" else values[0]
    for name in ("since", "until"):
        if name in given:
            given[name] = _ZONE.sub("+", str(given[name]))
    return given


def _read(kind: type[_Given], given: Mapping[str, object]) -> _Given:
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
    told = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults]
    hint = f"known are {', '.join(kind.model_fields)}; times are ISO 8601 with zone"
    raise Refused(400, "bad_request", "; ".join(told), hint=hint)
