package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxDecisions bounds how much of a network's log is read from its end, in bytes.
const maxDecisions = 64 << 10

// Network reads the newest entries of a VM's network log, oldest first. Lines that are damaged are left out.
func Network[T any](dir string) ([]T, error) {
	f, err := os.Open(filepath.Join(dir, NetworkFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	from := max(0, size-maxDecisions)
	data, err := io.ReadAll(io.NewSectionReader(f, from, maxDecisions))
	if err != nil {
		return nil, err
	}
	if from > 0 {
		_, data, _ = bytes.Cut(data, []byte{'\n'})
	}
	var out []T
	for line := range bytes.Lines(data) {
		var entry T
		if json.Unmarshal(line, &entry) == nil {
			out = append(out, entry)
		}
	}
	return out, nil
}
