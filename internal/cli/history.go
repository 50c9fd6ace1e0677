package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro"
)

// historyPrinter writes a task's history as it comes, an entry at a time: as text, or as the one JSON
// document.
type historyPrinter struct {
	out         *bufio.Writer
	json        bool
	skipRunning bool
	begun       bool
}

// entry writes the next.
func (h *historyPrinter) entry(count int, e pyro.LogEntry) error {
	if !h.json {
		if !h.skipRunning || !e.Running {
			writeEntry(h.out, e)
		}
		return h.out.Flush()
	}
	if h.begun {
		h.out.WriteString(",\n    ")
	} else {
		fmt.Fprintf(h.out, "{\n  \"count\": %d,\n  \"entries\": [\n    ", count)
	}
	h.begun = true
	return writeEntryJSON(h.out, e)
}

// end writes what comes behind the entries.
func (h *historyPrinter) end(r pyro.LogsTaskResult) error {
	if h.json {
		if h.begun {
			h.out.WriteString("\n  ")
		} else {
			fmt.Fprintf(h.out, "{\n  \"count\": %d,\n  \"entries\": [", r.Count)
		}
		fmt.Fprintf(h.out, "],\n  \"task_id\": %q\n}\n", r.TaskID)
	}
	return h.out.Flush()
}

// writeEntryJSON writes an entry with its keys sorted and its streams piece by piece: escaped, they may
// be six times as long.
func writeEntryJSON(w *bufio.Writer, e pyro.LogEntry) error {
	streams := map[string]string{"stdout": e.Stdout, "stderr": e.Stderr}
	e.Stdout, e.Stderr = "", ""
	raw, err := json.Marshal(e)
	if err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return err
	}
	w.WriteString("{")
	for i, key := range slices.Sorted(maps.Keys(fields)) {
		if i > 0 {
			w.WriteString(",")
		}
		fmt.Fprintf(w, "\n      %q: ", key)
		if text, ok := streams[key]; ok {
			err = writeString(w, text)
		} else {
			err = writeValue(w, fields[key])
		}
		if err != nil {
			return err
		}
	}
	_, err = w.WriteString("\n    }")
	return err
}

// writeValue writes a value as the other documents have it.
func writeValue(w io.Writer, raw json.RawMessage) error {
	var value any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return err
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	_, err := w.Write(bytes.TrimSuffix(out.Bytes(), []byte("\n")))
	return err
}

// piece is how much of a string is escaped at a time, in bytes.
const piece = 32 << 10

func writeString(w *bufio.Writer, text string) error {
	w.WriteByte('"')
	var out bytes.Buffer
	for len(text) > 0 {
		n := len(text)
		if n > piece {
			// No character is cut in two: one has at most four bytes, whose others begin with the bits 10.
			for n = piece; n > piece-4 && text[n]&0xc0 == 0x80; n-- {
			}
		}
		out.Reset()
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(text[:n]); err != nil {
			return err
		}
		quoted := bytes.TrimSuffix(out.Bytes(), []byte("\n"))
		if _, err := w.Write(quoted[1 : len(quoted)-1]); err != nil {
			return err
		}
		text = text[n:]
	}
	return w.WriteByte('"')
}

func writeEntry(w io.Writer, e pyro.LogEntry) {
	fmt.Fprintf(w, "# %d  %s  %s  [%s, %s]\n", e.Sequence, e.StartedAt.Local().Format(time.DateTime),
		oneLine(e.Command), ending(e), e.ExecutionMode)
	for _, stream := range []string{e.Stdout, e.Stderr} {
		if stream == "" {
			continue
		}
		io.WriteString(w, stream)
		if !strings.HasSuffix(stream, "\n") {
			io.WriteString(w, "\n")
		}
	}
}
