package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/pyro-mcp/pyro"
)

// A history that is written piece by piece is the document that it would be as a whole.
func TestHistoryJSON(t *testing.T) {
	long := strings.Repeat("aé€😀\x00\"<", piece/5)
	entries := []pyro.LogEntry{{Sequence: 1, Command: "a<b", Output: pyro.Output{Stdout: long}},
		{Sequence: 2, Output: pyro.Output{Stderr: long[3:]}}}
	for n := range len(entries) + 1 {
		some := append([]pyro.LogEntry{}, entries[:n]...)
		whole := pyro.LogsTaskResult{TaskID: "task-0", Count: n, Entries: some}
		var want, got bytes.Buffer
		if err := (&app{stdout: &want}).printJSON(whole); err != nil {
			t.Fatal(err)
		}
		h := &historyPrinter{out: bufio.NewWriter(&got), json: true}
		for _, e := range whole.Entries {
			if err := h.entry(n, e); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.end(whole); err != nil {
			t.Fatal(err)
		}
		if !json.Valid(got.Bytes()) || got.String() != want.String() {
			t.Errorf("%d entries: %.300q, want %.300q", n, got.String(), want.String())
		}
	}
}

// The longest of outputs is written without being held in its escaped form.
func TestHistoryMemory(t *testing.T) {
	noise := strings.Repeat("\x00", 1<<20)
	h := &historyPrinter{out: bufio.NewWriter(io.Discard), json: true}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	long := pyro.LogEntry{Sequence: 1, Output: pyro.Output{Stdout: noise, Stderr: noise}}
	if err := h.entry(1, long); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	// The sum of all that was allocated grows with the text, by its pieces; what is held at a time does not.
	if held := int64(after.HeapSys) - int64(before.HeapSys); held > 24<<20 {
		t.Errorf("%d bytes more are held", held)
	}
}
