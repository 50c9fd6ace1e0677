"""A development server on the guest's loopback, which tells its pages when a file has changed."""

import asyncio
import base64
import hashlib
from pathlib import Path

PAGE = """<!doctype html><title>dev</title><h1>%s</h1><p id=assets>0</p><script>
let loaded = 0
for (let i = 0; i < 60; i++) fetch("/asset/" + i).then(r => r.text()).then(text => {
  if (text == "asset " + i) document.getElementById("assets").textContent = ++loaded
})
new WebSocket("ws://" + location.host + "/live").onmessage = () => location.reload()
</script>"""
HEADING = Path("heading")


async def live(writer: asyncio.StreamWriter, head: str) -> None:
    fields = [line.partition(": ") for line in head.split("\r\n")]
    key = next(value for name, _, value in fields if name.lower() == "sec-websocket-key")
    proof = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(proof) + b"\r\n\r\n"
    )
    before = HEADING.read_text()
    while HEADING.read_text() == before:
        await asyncio.sleep(0.1)
    writer.write(b"\x81\x06reload")
    await writer.drain()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := (await reader.readuntil(b"\r\n\r\n")).decode():
            path = head.split(" ")[1]
            if path == "/live":
                return await live(writer, head)
            text = PAGE % HEADING.read_text() if path == "/" else path[1:].replace("/", " ")
            kind = "text/html" if path == "/" else "text/plain"
            fields = f"Content-Type: {kind}\r\nContent-Length: {len(text)}"
            writer.write(f"HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{text}".encode())
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    HEADING.write_text("first")
    async with await asyncio.start_server(serve, "127.0.0.1", 3000) as server:
        await server.serve_forever()


asyncio.run(main())
