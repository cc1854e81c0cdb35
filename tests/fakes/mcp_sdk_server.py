"""A well-behaved MCP server built with the official SDK: ``python mcp_sdk_server.py [PORT]`` (no port: stdio)."""

import sys

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

server = MCPServer("shop")


@server.tool(annotations=ToolAnnotations(read_only_hint=True, idempotent_hint=True))
def find_price(item: str, amount: int = 1) -> float:
    """Find the price of an item."""
    if item != "apple":
        raise ToolError(f"there is no {item}")
    return 0.5 * amount


@server.tool(annotations=ToolAnnotations(destructive_hint=True))
def place_order(items: list[str]) -> dict[str, int]:
    """Order items."""
    return {"ordered": len(items)}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run("stdio")
