package record

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// history gives what is read of a directory.
func history(t *testing.T, dir string, alive bool) []Entry {
	t.Helper()
	entries, err := History(dir, alive)
	for i := range entries {
		if err == nil {
			err = entries[i].Load(dir)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func TestHistory(t *testing.T) {
	dir := t.TempDir()
	if entries := history(t, dir, true); len(entries) != 0 {
		t.Errorf("none was written: %+v", entries)
	}
	for _, e := range []Entry{{Sequence: 1, Running: true}, {Sequence: 2, Running: true},
		{Sequence: 1, Stdout: "one"}} {
		if err := Append(dir, e, false); err != nil {
			t.Fatal(err)
		}
	}
	got := history(t, dir, true)
	if len(got) != 2 || got[0].Running || got[0].Stdout != "one" || !got[1].Running {
		t.Errorf("alive: %+v", got)
	}
	got = history(t, dir, false)
	if len(got) != 2 || got[1].Running || !got[1].Interrupted || got[1].ExitCode != InterruptedExit {
		t.Errorf("dead: %+v", got)
	}
}

// A writer that was killed at any byte of a line costs that line, and no other.
func TestATornLineCostsNoOther(t *testing.T) {
	whole, err := json.Marshal(Entry{Sequence: 2, Stdout: "torn"})
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) {
		dir := t.TempDir()
		if err := Append(dir, Entry{Sequence: 1, Stdout: "before"}, false); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(filepath.Join(dir, HistoryFile), os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, err = f.Write(whole[:cut])
			f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := history(t, dir, false); len(got) != 1 {
			t.Errorf("cut at %d: %+v", cut, got)
		}
		if err := Append(dir, Entry{Sequence: 3, Stdout: "after"}, true); err != nil {
			t.Fatal(err)
		}
		if got := history(t, dir, false); len(got) != 2 || got[0].Stdout != "before" ||
			got[1].Stdout != "after" {
			t.Errorf("cut at %d, then written to: %+v", cut, got)
		}
	}
}

// The longest entry that can be written can be read.
func TestTheLongestEntry(t *testing.T) {
	dir := t.TempDir()
	var c Capture
	for range 3 {
		if _, err := c.Write(make([]byte, OutputLimit)); err != nil { // zeros are escaped at their worst
			t.Fatal(err)
		}
	}
	if err := Append(dir, Entry{Sequence: 1, Stdout: c.String(), Stderr: c.String()}, false); err != nil {
		t.Fatal(err)
	}
	if got := history(t, dir, false); len(got) != 1 || got[0].Stdout != c.String() {
		t.Errorf("%d entries", len(got))
	}
}

func TestCapture(t *testing.T) {
	for _, c := range []struct{ size, chunk int }{{0, 1}, {OutputLimit, 7777}, {OutputLimit + 1, 4096},
		{5 * OutputLimit, 100_000}, {5 * OutputLimit, 5 * OutputLimit}} {
		var kept Capture
		data := strings.Repeat("0123456789", c.size/10+1)[:c.size]
		for at := 0; at < len(data); at += c.chunk {
			if n, err := kept.Write([]byte(data[at:min(at+c.chunk, len(data))])); err != nil ||
				n != min(c.chunk, len(data)-at) {
				t.Fatalf("%d, %v", n, err)
			}
		}
		got, cut := kept.String(), c.size > OutputLimit
		if kept.Truncated() != cut || strings.Contains(got, "bytes left out here") != cut {
			t.Errorf("%+v: truncated %v", c, kept.Truncated())
		}
		if !cut && got != data {
			t.Errorf("%+v: it is not what was written", c)
		}
		if cut && (!strings.HasPrefix(got, data[:half]) || !strings.HasSuffix(got, data[len(data)-half:])) {
			t.Errorf("%+v: it is not the beginning and the end", c)
		}
		if len(got) > OutputLimit+100 {
			t.Errorf("%+v: %d bytes are kept", c, len(got))
		}
	}
}

// Whatever stands in a history, it is read without harm, and what is appended to it is read back.
func FuzzHistory(f *testing.F) {
	f.Add([]byte(`{"sequence":1,"running":true}` + "\n" + `{"sequence":1}` + "\n" + `{"seq`))
	f.Add([]byte("\n\n{}\nnull\n[1]\n"))
	f.Add([]byte(`{"sequence":-1}` + "\n" + `{"sequence":9223372036854775807}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, HistoryFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		seen := map[int]bool{}
		for _, e := range history(t, dir, false) {
			if e.Sequence <= 0 || seen[e.Sequence] || e.Running {
				t.Errorf("%+v", e)
			}
			seen[e.Sequence] = true
		}
		if err := Append(dir, Entry{Sequence: 77, Stdout: "new"}, false); err != nil {
			t.Fatal(err)
		}
		found := false
		for _, e := range history(t, dir, false) {
			found = found || e.Sequence == 77 && e.Stdout == "new"
		}
		if !found {
			t.Error("what was appended is lost")
		}
	})
}

func FuzzNetwork(f *testing.F) {
	f.Add([]byte(`{"name":"a"}` + "\n" + `{"na`))
	f.Add([]byte(strings.Repeat("x", maxDecisions+1) + "\n{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, NetworkFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Network[map[string]any](dir); err != nil {
			t.Error(err)
		}
	})
}
