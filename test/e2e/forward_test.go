package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/pyro-mcp/pyro"
)

// guestServers are servers on the guest's loopback: 8001 counts to the end of its input and then answers,
// 8002 echoes, 8003 echoes WebSocket messages, 8004 answers HTTP/2 without TLS.
const guestServers = `
import asyncio, base64, hashlib, resource, struct
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))

async def count(r, w):
    data = await r.read()
    w.write(b"%d" % len(data))
    await w.drain()
    w.close()

async def echo(r, w):
    while data := await r.read(65536):
        w.write(data)
        await w.drain()
    w.close()

async def websocket(r, w):
    head = (await r.readuntil(b"\r\n\r\n")).decode()
    key = next(l.split(": ")[1] for l in head.split("\r\n") if l.lower().startswith("sec-websocket-key"))
    proof = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
    w.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n")
    while True:
        kind, size = await r.readexactly(2)
        mask = await r.readexactly(4)
        data = bytes(b ^ mask[i % 4] for i, b in enumerate(await r.readexactly(size & 127)))
        w.write(bytes([kind, len(data)]) + data)
        await w.drain()

def frame(kind, flags, stream, data=b""):
    return struct.pack(">I", len(data))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + data

async def http2(r, w):
    await r.readexactly(24)
    w.write(frame(4, 0, 0))
    while True:
        head = await r.readexactly(9)
        kind, flags, stream = head[3], head[4], struct.unpack(">I", head[5:])[0]
        await r.readexactly(int.from_bytes(head[:3], "big"))
        if kind == 4 and not flags & 1:
            w.write(frame(4, 1, 0))
        if kind == 1:
            w.write(frame(1, 4, stream, b"\x88") + frame(0, 1, stream, b"stream %d" % stream))
        await w.drain()

async def main():
    for port, serve in {8001: count, 8002: echo, 8003: websocket, 8004: http2}.items():
        await asyncio.start_server(serve, "::1" if port == 8002 else "127.0.0.1", port, backlog=2048)
    print("serving", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
`

// forwarded gives addresses of this host that lead to the servers.
func forwarded(t *testing.T) map[int]string {
	p := engine(t)
	create := pyro.CreateTaskRequest{Shape: pyro.Shape{Environment: "debian:12"}}
	task, err := p.CreateTask(t.Context(), create)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, err := p.DeleteTask(context.WithoutCancel(t.Context()), pyro.TaskRequest{TaskID: task.TaskID})
		if err != nil {
			t.Error(err)
		}
	})
	service, err := p.StartService(t.Context(), pyro.StartServiceRequest{
		TaskID:   task.TaskID,
		Name:     "servers",
		Argv:     []string{"python3", "-c", guestServers},
		ReadyLog: "^serving$",
	})
	if err != nil || service.State != "ready" {
		t.Fatalf("%+v, %v", service, err)
	}
	at := map[int]string{}
	for port := 8001; port <= 8004; port++ {
		f, err := p.ForwardPort(t.Context(), pyro.ForwardPortRequest{
			TaskID:    task.TaskID,
			GuestPort: port,
		})
		if err != nil {
			t.Fatal(err)
		}
		at[port] = fmt.Sprintf("127.0.0.1:%d", f.HostPort)
	}
	return at
}

func TestAForwardedPort(t *testing.T) {
	at := forwarded(t)
	t.Run("half-closed", func(t *testing.T) { halfClosed(t, at[8001]) })
	t.Run("WebSocket", func(t *testing.T) { webSocket(t, at[8003]) })
	t.Run("HTTP/2", func(t *testing.T) { http2(t, at[8004]) })
	t.Run("1,000 connections", func(t *testing.T) { thousand(t, at[8002]) })
}

// dial connects, and closes in the end.
func dial(t *testing.T, at string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// halfClosed says that it has no more to say, and is answered then.
func halfClosed(t *testing.T, at string) {
	conn := dial(t, at)
	sent := strings.Repeat("x", 300_000)
	if _, err := io.WriteString(conn, sent); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || string(answer) != fmt.Sprint(len(sent)) {
		t.Errorf("it was answered %q, %v", answer, err)
	}
}

// webSocket upgrades a connection by hand, and sends masked messages.
func webSocket(t *testing.T, at string) {
	conn := dial(t, at)
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", at)
	want := "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
	var head strings.Builder
	for b := make([]byte, 1); !strings.HasSuffix(head.String(), "\r\n\r\n"); head.Write(b) {
		if _, err := io.ReadFull(conn, b); err != nil {
			t.Fatalf("%q, %v", head.String(), err)
		}
	}
	if !strings.HasPrefix(head.String(), "HTTP/1.1 101 ") || !strings.HasSuffix(head.String(), want) {
		t.Fatalf("it was answered %q", head.String())
	}
	for i := range 20 {
		text := fmt.Sprintf("message %d", i)
		message := []byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}
		if _, err := conn.Write(append(message, text...)); err != nil {
			t.Fatal(err)
		}
		back := make([]byte, 2+len(text))
		if _, err := io.ReadFull(conn, back); err != nil || string(back[2:]) != text {
			t.Fatalf("%q came back as %q, %v", text, back, err)
		}
	}
}

// http2 asks several things at once over one connection.
func http2(t *testing.T, at string) {
	transport := &http.Transport{Protocols: new(http.Protocols), MaxConnsPerHost: 1}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			answer, err := client.Get("http://" + at + "/")
			if err != nil {
				t.Error(err)
				return
			}
			defer answer.Body.Close()
			text, err := io.ReadAll(answer.Body)
			if err != nil || answer.ProtoMajor != 2 || !strings.HasPrefix(string(text), "stream ") {
				t.Errorf("HTTP/%d: %q, %v", answer.ProtoMajor, text, err)
			}
		})
	}
	all.Wait()
}

// thousand has as many connections open at once, and talks over each, twice.
func thousand(t *testing.T, at string) {
	conns := make([]*net.TCPConn, 1000)
	for i := range conns {
		conns[i] = dial(t, at)
	}
	for _, word := range []string{"first", "again"} {
		for i, conn := range conns {
			fmt.Fprintf(conn, "%s %4d\n", word, i)
		}
		for i, conn := range conns {
			want := fmt.Sprintf("%s %4d\n", word, i)
			back := make([]byte, len(want))
			if _, err := io.ReadFull(conn, back); err != nil || string(back) != want {
				t.Fatalf("connection %d was answered %q, %v", i, back, err)
			}
		}
	}
}
