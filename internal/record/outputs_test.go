package record

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The oldest outputs make room for new ones, and what was run stays known.
func TestOldOutputsGo(t *testing.T) {
	dir := t.TempDir()
	noise := strings.Repeat("\x00\xff\x80", OutputLimit/3)
	const commands = 2*OutputsLimit/OutputLimit + 3
	for i := range commands {
		if err := Append(dir, Entry{Sequence: i + 1, Command: "noise", Stdout: noise}, false); err != nil {
			t.Fatal(err)
		}
	}
	var st syscall.Stat_t
	err := syscall.Stat(filepath.Join(dir, OutputsFile), &st)
	if err != nil || st.Blocks*512 > OutputsLimit+1<<20 {
		t.Errorf("%d bytes are kept, %v", st.Blocks*512, err)
	}
	entries, err := History(dir, false)
	if err != nil || len(entries) != commands {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	for _, i := range []int{0, commands - 1} {
		e := &entries[i]
		if err := e.Load(dir); err != nil || e.Command != "noise" {
			t.Fatal(err)
		}
		if old := i == 0; old != (e.Stdout == "" && e.StdoutTruncated) || !old && e.Stdout != noise {
			t.Errorf("command %d: %d bytes, truncated %v", i+1, len(e.Stdout), e.StdoutTruncated)
		}
	}
}

// What an older pyro wrote, the streams in the line, is read as it was.
func TestOlderEntries(t *testing.T) {
	dir := t.TempDir()
	var b bytes.Buffer
	for _, e := range []Entry{{Sequence: 1, Stdout: "one"}, {Sequence: 2, Stdout: "two", Stderr: "more"}} {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}
	if err := os.WriteFile(filepath.Join(dir, HistoryFile), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := history(t, dir, false); len(got) != 2 || got[0].Stdout != "one" || got[1].Stderr != "more" {
		t.Errorf("got %+v", got)
	}
}

// A place in the outputs that cannot be is no place.
func FuzzSpans(f *testing.F) {
	f.Add(int64(0), int64(3))
	f.Add(int64(-1), int64(1<<62))
	f.Fuzz(func(t *testing.T, at, length int64) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, OutputsFile), []byte("outputs"), 0o600); err != nil {
			t.Fatal(err)
		}
		e := Entry{Out: &Span{at, length}, Err: &Span{}}
		if err := e.Load(dir); err != nil || len(e.Stdout) > 7 {
			t.Errorf("%q, %v", e.Stdout, err)
		}
	})
}
