"""The verbs as a page and as JSON Schema, made from the table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edge.control.commands.arguments import Args
from edge.control.commands.table import VERBS, Verb

_INTRODUCTION = """\
# Commands of a running box

Made by `edge config reference --verbs`; do not edit by hand. The same verbs, arguments and replies
over HTTP (`POST /v1/commands/VERB` with the arguments as JSON), `edge ctl VERB`, and MQTT.

```
edge ctl source.disable name=gate
curl -d '{"name": "gate"}' http://127.0.0.1:8080/v1/commands/source.disable
```

An envelope has `id`, `verb`, `args`, and may have `issued`, `expires`, `to`, `reply_to`. A command
takes effect once: whatever comes again with its id gets the same reply, across restarts. One that
expired is answered `expired`; one that the broker retained is refused. Replies have `status`
(`accepted`, `progress`, `ok`, `error`, `expired`), `code`, `message`, `hint` and `data`.

Classes: *read* changes nothing; *operate* pauses, tests, restarts; *change* changes what the box
does; *privacy* how people are covered, which can only be raised from afar. `[control.local]`,
`[control.http]` and `[control.mqtt]` say what is allowed which way. Every command is in the audit
log, a hash chain in the spool: `edge ctl audit.recent`, `edge ctl audit.verify`.

*Once* in the table: after a power cut in the middle such a command is not done again; its reply is
then `internal`, unknown outcome. *Long*: it goes on after the answer `accepted`; ask `GET
/v1/commands/ID`. *Group*: it may be sent to all boxes of a site.
"""


def reference() -> str:
    """Return every verb as a Markdown table: what ``edge/control/README.md`` holds."""
    lines = [_INTRODUCTION, "| verb | class | takes | answers | what it does |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for row in table():
        cells = (f"`{row['verb']}`", row["class"], row["takes"], row["answers"], row["text"])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def table() -> list[dict[str, str]]:
    """Return what is said of each verb."""
    return [
        {
            "verb": verb.name,
            "class": ", ".join((verb.kind, *_marks(verb))),
            "takes": ", ".join(_fields(verb.takes)),
            "answers": ", ".join(f"`{name}`" for name in verb.answers.model_fields),
            "text": verb.text,
        }
        for verb in VERBS.values()
    ]


def schema(name: str) -> dict[str, Any]:
    """Return a verb's arguments and answer as JSON Schema (2020-12).

    Raises:
        KeyError: there is no such verb.

    """
    verb = VERBS[name]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": verb.name,
        "description": verb.text,
        "type": "object",
        "properties": {
            "args": verb.takes.model_json_schema(),
            "data": verb.answers.model_json_schema(mode="serialization"),
        },
    }


def _marks(verb: Verb) -> Iterator[str]:
    for is_so, word in (
        (not verb.idempotent, "once"),
        (verb.long, "long"),
        (verb.group, "group"),
        (verb.local, "local only"),
    ):
        if is_so:
            yield word


def _fields(kind: type[Args]) -> Iterator[str]:
    for name, one in kind.model_fields.items():
        yield f"`{name}`" + ("" if one.is_required() else "?")
