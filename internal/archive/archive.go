// Package archive carries trees to safe tar and back, with the same refusals on the host and in the guest.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Destination is where seeds stand in the guest; absolute symbolic links may point below it.
const Destination = "/workspace"

// Limits bound what one transfer may carry; a zero field stands for its default.
type Limits struct {
	MaxEntries int64 // 1,000,000
	MaxBytes   int64 // sum of the files' logical sizes, 16 GiB
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
}

// ErrLimit is in the chain of each error about a limit; the error names the limit.
var ErrLimit = errors.New("over the limit")

// ErrChanged is in the chain of the error about a file that changed or vanished while it was read.
var ErrChanged = errors.New("changed while it was read")

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
	return fmt.Sprintf("refused entry %q: %s", e.Entry, e.Reason)
}

// ExtractOptions says where a stream goes and whose the files become.
type ExtractOptions struct {
	Root                 string // an existing directory
	MaxEntries, MaxBytes int64  // as in Limits
	UID, GID             int    // owner of all that is made
}

var errTODO = errors.New("not written yet")

// Pack streams source, a directory or a .tar, .tar.gz or .tgz file, to w as a normalised tar.
func Pack(ctx context.Context, w io.Writer, source string, l Limits) (Summary, error) {
	return Summary{}, errTODO
}

// Extract reads a tar that Pack wrote into the directory o.Root.
func Extract(ctx context.Context, r io.Reader, o ExtractOptions) (Summary, error) {
	return Summary{}, errTODO
}
