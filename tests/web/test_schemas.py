from __future__ import annotations

from edge.messages.published import ALL
from tests.web.conftest import Site


async def test_every_schema_is_served_by_its_name_and_version(site: Site) -> None:
    for one in ALL:
        async with site.client.get(site.at(f"/v1/schemas/{one.file}.json")) as answer:
            assert answer.status == 200
            assert answer.content_type == "application/schema+json"
            assert await answer.json(content_type=None) == one.schema()
    async with site.client.get(site.at("/v1/schemas/picture.redacted.v9.json")) as answer:
        assert answer.status == 404
        assert "/v1/schemas/picture.redacted.v1.json" in (await answer.json())["error"]["hint"]
