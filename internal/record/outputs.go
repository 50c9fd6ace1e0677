package record

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// OutputsLimit is how much of its commands' outputs a VM's history keeps, in bytes. The oldest go first;
// what was run, and how it ended, stays.
const OutputsLimit = 64 << 20

// Span is a part of the file of outputs.
type Span struct {
	At     int64 `json:"at"`
	Length int64 `json:"length"`
}

type span struct{ at, length int64 }

// keepOutputs appends two streams to the file of outputs, as they are, and lets the oldest go: the file
// only gets longer, and what is further than the limit from its end becomes a hole.
func keepOutputs(dir, stdout, stderr string, durable bool) (out, err *Span, failure error) {
	if stdout == "" && stderr == "" {
		return &Span{}, &Span{}, nil
	}
	f, failure := os.OpenFile(filepath.Join(dir, OutputsFile), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if failure != nil {
		return nil, nil, failure
	}
	defer func() { failure = errors.Join(failure, f.Close()) }()
	info, failure := f.Stat()
	if failure != nil {
		return nil, nil, failure
	}
	end := info.Size()
	out = &Span{end, int64(len(stdout))}
	err = &Span{end + out.Length, int64(len(stderr))}
	for _, part := range []struct {
		text string
		at   int64
	}{{stdout, out.At}, {stderr, err.At}} {
		if _, failure := f.WriteAt([]byte(part.text), part.at); failure != nil {
			return nil, nil, errors.Join(failure, f.Truncate(end))
		}
	}
	if floor := err.At + err.Length - OutputsLimit; floor > 0 {
		// If the file system has no holes the room is not given back, which is no reason to lose what
		// is new.
		_ = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, floor)
	}
	if durable {
		failure = f.Sync()
	}
	return out, err, failure
}

// Load reads an entry's streams. Those that had to go are empty, and marked as truncated.
func (e *Entry) Load(dir string) error {
	if e.Out == nil || e.Err == nil {
		return e.loadLine(dir)
	}
	if e.Out.Length == 0 && e.Err.Length == 0 {
		return nil
	}
	f, err := os.Open(filepath.Join(dir, OutputsFile))
	if errors.Is(err, fs.ErrNotExist) {
		e.StdoutTruncated, e.StderrTruncated = e.Out.Length > 0, e.Err.Length > 0
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	for _, stream := range []struct {
		from *Span
		to   *string
		cut  *bool
	}{{e.Out, &e.Stdout, &e.StdoutTruncated}, {e.Err, &e.Stderr, &e.StderrTruncated}} {
		s := *stream.from
		if s.Length == 0 {
			continue
		}
		gone := s.At < info.Size()-OutputsLimit
		if gone || s.At < 0 || s.Length < 0 || s.Length > 2*OutputLimit || s.At > info.Size()-s.Length {
			*stream.cut = true
			continue
		}
		data := make([]byte, s.Length)
		if _, err := f.ReadAt(data, s.At); err != nil {
			return err
		}
		*stream.to = string(data)
	}
	return nil
}

// loadLine reads the streams of an entry that holds them itself.
func (e *Entry) loadLine(dir string) error {
	f, err := os.Open(filepath.Join(dir, HistoryFile))
	if err != nil {
		return err
	}
	defer f.Close()
	line := make([]byte, min(e.line.length, maxLine))
	if _, err := f.ReadAt(line, e.line.at); err != nil {
		return err
	}
	var whole Entry
	if err := json.Unmarshal([]byte(strings.TrimRight(string(line), "\n")), &whole); err != nil {
		return err
	}
	e.Stdout, e.Stderr = whole.Stdout, whole.Stderr
	return nil
}
