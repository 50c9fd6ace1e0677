package template

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// chmod gives a draft's files, whose memory is done, the modes of a finished template's.
func chmod(dir string, d Draft, shared bool) error {
	if !shared {
		return os.Chmod(d.Scratch, 0o400)
	}
	return errors.Join(os.Chmod(d.Scratch, 0o444), d.State.Chmod(0o444), os.Chmod(dir, 0o755))
}

// writeAs writes a file that is the owner's alone, or that others may read.
func writeAs(path string, data []byte, shared bool) error {
	err := os.WriteFile(path, data, 0o600)
	if err == nil && shared {
		err = os.Chmod(path, 0o644)
	}
	return errors.Join(err, syncFile(path))
}

// Adopt copies a template of another user's store into this one. A task can rest on a file of its user's
// alone: others' may not be linked, and may go at any time.
func (s *Store) Adopt(ctx context.Context, key Key, t *Template) (*Template, error) {
	_, err := s.Make(ctx, key, How{Wait: true}, func(_ context.Context, d Draft) error {
		state, err := os.Open(filepath.Join(t.dir, stateFile))
		if err != nil {
			return err
		}
		defer state.Close()
		_, err = io.Copy(d.State, state)
		if t.Process != "" {
			err = errors.Join(err, CloneDisk(t.Process, d.Process))
		}
		return errors.Join(err, CloneDisk(t.Memory, d.Memory), CloneDisk(t.Scratch, d.Scratch))
	})
	if err != nil {
		return nil, err
	}
	if own := s.Find(key); own != nil {
		return own, nil
	}
	return nil, errors.New("the copy of a template is gone already")
}
