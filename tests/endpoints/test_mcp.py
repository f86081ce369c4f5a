"""The endpoints as tools for assistants: exactly two, and they open no address."""

from __future__ import annotations

import ast
import asyncio
import base64
import importlib.util
import urllib.error
import urllib.request

import pytest

from demo import app
from demo.settings import Settings
from segcore.errors import UsageError
from tests.endpoints.calls import CAT, sample
from tests.helpers.misbehaving_server import MisbehavingServer
from tests.helpers.page_server import running_page


def test_it_is_off_until_it_is_asked_for(tmp_path, monkeypatch):
    assert Settings.read([], {}).mcp is False and Settings.read(["--mcp"], {}).mcp is True
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "mcp" else find(name, *more))
    with pytest.raises(UsageError, match=r'pip install "gradio\[mcp\]"'):
        app.start(Settings(mcp=True), tmp_path, tmp_path)


@pytest.mark.page
def test_two_tools_that_open_no_address(no_downloads):
    pytest.importorskip("mcp", reason='needs pip install "gradio[mcp]"')
    photograph = "data:image/jpeg;base64," + base64.b64encode(sample(CAT).read_bytes()).decode()
    with running_page("--mcp") as page, MisbehavingServer({"/cat.jpg": sample(CAT).read_bytes()}) as elsewhere:
        tools, answers = asyncio.run(
            _asked(f"{page.url}/gradio_api/mcp/", [photograph, f"{elsewhere.url}/cat.jpg", str(sample(CAT))])
        )
        assert "Traceback" not in page.log()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{page.url}/gradio_api/mcp/sse")
        assert elsewhere.requests == []

    assert sorted(tools) == ["evaluate_coco", "segment"]
    segment = tools["segment"]
    assert segment.description.startswith("Find people, animals, vehicles and household things")
    assert segment.inputSchema["properties"]["mode"]["description"].startswith('"multiclass" for all classes')
    found, address, path = answers
    assert not found.isError
    texts = [each.text for each in found.content if each.type == "text"]
    [[_, record]] = [ast.literal_eval(each) for each in texts if "'classes'" in each]  # the overlay, and the record
    assert record["classes"][0]["name"] == "cat"
    assert address.isError and "addresses and paths are not opened" in address.content[0].text
    assert path.isError


async def _asked(url: str, photographs: list[str]) -> tuple[dict, list]:
    """List the tools of a server, and let it segment each of the photographs."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    async with streamablehttp_client(url) as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        tools = {each.name: each for each in (await session.list_tools()).tools}
        return tools, [await session.call_tool("segment", {"image": each}) for each in photographs]
