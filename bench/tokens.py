"""What each profile of the MCP server costs a model's context, in tokens of the o200k encoding.

Run it from the root after make build:  make bench-tokens. A model sees names, descriptions and input schemas; some clients
show it the output schemas as well.
"""

from __future__ import annotations

import json
import subprocess

from client import MCP, ROOT

PACKAGES = ROOT / ".node-bench"
COUNTER = """
const { Tiktoken } = require("js-tiktoken/lite");
const encoder = new Tiktoken(require("js-tiktoken/ranks/o200k_base"));
const texts = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(texts.map((text) => encoder.encode(text).length)));
"""


def tokens(texts: list[str]) -> list[int]:
    """Count tokens with a package from npm, which is installed at the first use."""
    PACKAGES.mkdir(exist_ok=True)
    if not (PACKAGES / "node_modules" / "js-tiktoken").exists():
        install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(PACKAGES), "js-tiktoken@1.0.21"]
        subprocess.run(install, check=True)
    counted = subprocess.run(
        ["node", "-e", COUNTER], cwd=PACKAGES, input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    result: list[int] = json.loads(counted.stdout)
    return result


def main() -> None:
    print("| profile | tools | tokens that a model sees | bytes of `tools/list` | tokens of it |\n|---|---|---|---|---|")
    for profile in ("vm-run", "core", "task", "full"):
        mcp = MCP("--profile", profile)
        tools = mcp.ask("tools/list")["tools"]
        mcp.close()
        seen = [{key: tool[key] for key in ("name", "description", "inputSchema")} for tool in tools]
        texts = [json.dumps(document, separators=(",", ":")) for document in (seen, tools)]
        model, whole = tokens(texts)
        print(f"| `{profile}` | {len(tools)} | {model} | {len(texts[1].encode())} | {whole} |")


if __name__ == "__main__":
    main()
