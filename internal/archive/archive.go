// Package archive carries directories and tar archives into guests, with the same refusals on both sides.
package archive

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// Destination is where seeds stand in the guest; absolute symbolic links may point below it.
const Destination = "/workspace"

// Limits bound what one transfer may carry; a zero field stands for its default.
type Limits struct {
	MaxEntries int64 // entries and the directories implied by their paths, 1,000,000
	MaxBytes   int64 // sum of the files' logical sizes, 16 GiB
}

func (l Limits) withDefaults() Limits {
	if l.MaxEntries == 0 {
		l.MaxEntries = 1_000_000
	}
	if l.MaxBytes == 0 {
		l.MaxBytes = 16 << 30
	}
	return l
}

// stream is a bound on the bytes of a tar within the limits, headers and padding included: what comes in more
// is headers without an entry.
func (l Limits) stream() int64 {
	const header, slack = 4 << 10, 8 << 20
	if l.MaxEntries > (math.MaxInt64-slack)/header-1 || l.MaxBytes > math.MaxInt64-slack-l.MaxEntries*header {
		return math.MaxInt64
	}
	return l.MaxBytes + l.MaxEntries*header + slack
}

// Modes of a Summary.
const (
	ModeDirectory = "directory"
	ModeArchive   = "tar_archive"
)

// Summary tells what was carried.
type Summary struct {
	Mode    string // of the source, set by Pack
	Entries int64
	Bytes   int64 // sum of the files' logical sizes
	Left    Left  // what was left out, if that was allowed
}

// Left is what could not come along.
type Left struct {
	Count int64
	Names []LeftOut // of the first few
}

// LeftOut is one entry that was left out, and why.
type LeftOut struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// maxLeft is how many are named.
const maxLeft = 20

func (l *Left) add(path string, why error) {
	l.Count++
	if len(l.Names) == maxLeft {
		return
	}
	reason := why.Error()
	var refused *RefusedError
	if errors.As(why, &refused) {
		reason = refused.Reason
	}
	l.Names = append(l.Names, LeftOut{path, strings.TrimPrefix(reason, fmt.Sprintf("entry %q: ", path))})
}

// ErrLimit is in the chain of each error about a limit; the error names the limit.
var ErrLimit = errors.New("over the limit")

// ErrChanged is in the chain of the error about a file that changed or vanished while it was read.
var ErrChanged = errors.New("it changed while it was read")

// RefusedError says which entry of a source can not be carried, and why.
type RefusedError struct {
	Entry  string // path in the source; empty for the source as a whole
	Reason string
}

// Error is the sentence for people.
func (e *RefusedError) Error() string {
	if e.Entry == "" {
		return "refused: " + e.Reason
	}
	return fmt.Sprintf("entry %q is refused: %s", e.Entry, e.Reason)
}

const bufferSize = 64 << 10

// boundedReader ends in an error when more than left bytes come, or the work is called off.
type boundedReader struct {
	r     io.Reader
	alive func() error
	left  int64
	limit int64 // to name in the error
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if err := b.alive(); err != nil {
		return 0, err
	}
	if b.left <= 0 {
		return 0, fmt.Errorf("%w of %d bytes", ErrLimit, b.limit)
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// bounded reads a tar that the rules are to judge.
func (r *rules) bounded(from io.Reader, alive func() error) *boundedReader {
	return &boundedReader{
		r:     from,
		alive: alive,
		left:  r.limits.stream(),
		limit: r.limits.MaxBytes,
	}
}
