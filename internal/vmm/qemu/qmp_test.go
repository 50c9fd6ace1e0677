package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/vmm"
)

// talk returns a QMP connection and the other end of its connection.
func talk(t *testing.T, onEvent func(string, json.RawMessage)) (*qmpConn, *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "qemu")
	m, err := newQMP(os.NewFile(uintptr(fds[0]), "qmp"), onEvent)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close(); m.drain() })
	return m, theirs
}

// answer is a QEMU that gives the answers in turn, each with the request's ID for its %d.
func answer(qemu *os.File, answers ...string) {
	lines := bufio.NewScanner(qemu)
	for _, a := range answers {
		if !lines.Scan() {
			return
		}
		var request struct{ ID int }
		json.Unmarshal(lines.Bytes(), &request)
		if strings.Contains(a, "%d") {
			a = fmt.Sprintf(a, request.ID)
		}
		io.WriteString(qemu, a)
	}
}

func TestExecute(t *testing.T) {
	var events []string
	m, qemu := talk(t, func(name string, _ json.RawMessage) { events = append(events, name) })
	io.WriteString(qemu, `{"QMP": {"version": {}, "capabilities": []}}`+"\r\n")
	go answer(qemu,
		`{"return": {}, "id": 12345}`+"\n"+`{"event": "STOP", "timestamp": {}}`+"\n"+
			`{"return": {"status": "running"}, "id": %d, "more": [1]}`+"\n",
		`{"error": {"class": "GenericError", "desc": "No such thing."}, "id": %d}`+"\n",
		"",
		`{"return": {}, "id": %d}`+"\n")
	var got struct{ Status string }
	if err := m.execute(t.Context(), "query-status", nil, nil, &got); err != nil || got.Status != "running" {
		t.Errorf("got %+v, %v", got, err)
	}
	if len(events) != 1 || events[0] != "STOP" {
		t.Errorf("events are %v", events)
	}
	if err := m.execute(t.Context(), "magic", nil, nil, nil); err == nil ||
		err.Error() != "qemu refused magic: no such thing" {
		t.Errorf("a refusal is %v", err)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := m.execute(short, "stop", nil, nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silence is %v", err)
	}
	// The limit of one command is not that of the next.
	if err := m.execute(t.Context(), "cont", nil, nil, nil); err != nil {
		t.Errorf("after a command whose time is over: %v", err)
	}
	if len(m.waiting) != 0 {
		t.Errorf("%d commands still wait", len(m.waiting))
	}
}

func TestExecuteAfterTheEnd(t *testing.T) {
	for name, last := range map[string]string{
		"end of file": "", "no JSON": "hello\n", "no sort": "{}\n",
		"too long": strings.Repeat(" ", maxMessage+1) + "\n",
	} {
		m, qemu := talk(t, func(string, json.RawMessage) {})
		go func() {
			answer(qemu, last)
			qemu.Close()
		}()
		if err := m.execute(t.Context(), "stop", nil, nil, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzParseMessage(f *testing.F) {
	for _, seed := range []string{
		`{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": ["oob"]}}`,
		`{"return": {}, "id": 1}`, `{"return": [], "id": "x"}`,
		`{"id": 2, "error": {"class": "GenericError", "desc": "no"}}`,
		`{"timestamp": {"seconds": 1}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}`,
		`{"event": "BLOCK_IO_ERROR", "data": {"node-name": "scratch", "operation": "write", "nospace": true, "reason": "No space left on device"}}`,
		`{}`, `null`, `[]`, `{"event": 1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		m, err := parseMessage(line)
		if err != nil {
			return
		}
		if m.Greeting == nil && m.Return == nil && m.Error == nil && m.Event == "" {
			t.Errorf("%q says nothing and is taken", line)
		}
		// What an event does must not depend on its data being well-formed.
		x := &machine{moved: make(chan string, 1), events: make(chan vmm.Event, 1)}
		for _, name := range []string{"MIGRATION", "SHUTDOWN", "GUEST_PANICKED", "BLOCK_IO_ERROR", m.Event} {
			x.event(name, m.Data)
		}
	})
}

func TestDiskError(t *testing.T) {
	got := diskError(json.RawMessage(`{"node-name": "scratch", "operation": "write", "nospace": true, "reason": "No space left on device"}`))
	if want := "disk scratch: the host has no space left"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
