package instances

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pyro-mcp/pyro/internal/record"
)

// levelVariable has a supervisor log what helps to debug it, too.
const levelVariable = "PYRO_LOG"

const (
	relayPace = 50 * time.Millisecond // of looks at a supervisor's log
	relayLine = 16 << 10              // the longest line that is passed on, in bytes
)

// relay passes on what a supervisor logs while a session with it lasts. The file stays readable when its VM
// is removed.
type relay struct {
	to   *slog.Logger
	file *os.File
	in   *bufio.Reader
	line []byte // that is not whole yet
	stop chan struct{}
	over sync.WaitGroup
}

// relay passes on what the supervisor of a VM logs from now on, if the caller's logger takes what helps to
// debug. Nil passes on nothing.
func (i *Instances) relay(id string) *relay {
	to := i.options.Log
	if !to.Enabled(context.Background(), slog.LevelDebug) {
		return nil
	}
	f, err := os.Open(filepath.Join(i.Dir(id), record.LogFile))
	if err == nil {
		_, err = f.Seek(0, io.SeekEnd)
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			to.Warn("cannot read a supervisor's log", "vm", id, "error", err)
		}
		f.Close() // A nil file can be closed.
		return nil
	}
	r := &relay{
		to:   to.With("vm", id),
		file: f,
		in:   bufio.NewReader(f),
		stop: make(chan struct{}),
	}
	r.over.Go(r.follow)
	return r
}

// close passes on what is left.
func (r *relay) close() {
	if r == nil {
		return
	}
	close(r.stop)
	r.over.Wait()
	r.pass()
	r.file.Close()
}

func (r *relay) follow() {
	look := time.NewTicker(relayPace)
	defer look.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-look.C:
			r.pass()
		}
	}
}

// pass passes on the lines that are there.
func (r *relay) pass() {
	for {
		part, err := r.in.ReadSlice('\n')
		if room := relayLine - len(r.line); room > 0 {
			r.line = append(r.line, part[:min(len(part), room)]...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return // The rest of the line is yet to come.
		}
		if entry, ok := parseLine(strings.TrimSuffix(string(r.line), "\n")); ok &&
			r.to.Enabled(context.Background(), entry.Level) {
			_ = r.to.Handler().Handle(context.Background(), entry) // Nothing can be done about it.
		}
		r.line = r.line[:0]
	}
}

// parseLine reads a line as slog's text handler writes it. What else stands in the log is given as it is.
func parseLine(line string) (slog.Record, bool) {
	if line == "" {
		return slog.Record{}, false
	}
	var at time.Time
	var level slog.Level
	var message string
	var attrs []slog.Attr
	for rest := line; rest != ""; {
		key, value, found := strings.Cut(rest, "=")
		if !found || strings.ContainsAny(key, " \"") {
			return slog.NewRecord(time.Now(), slog.LevelInfo, line, 0), true
		}
		if quoted, err := strconv.QuotedPrefix(value); err == nil {
			rest = strings.TrimPrefix(value[len(quoted):], " ")
			value, _ = strconv.Unquote(quoted)
		} else {
			value, rest, _ = strings.Cut(value, " ")
		}
		switch key {
		case slog.TimeKey:
			at, _ = time.Parse(time.RFC3339, value)
		case slog.LevelKey:
			_ = level.UnmarshalText([]byte(value)) // Another word is the zero value, which is info.
		case slog.MessageKey:
			message = value
		default:
			attrs = append(attrs, slog.String(key, value))
		}
	}
	entry := slog.NewRecord(at, level, message, 0)
	entry.AddAttrs(attrs...)
	return entry, true
}
