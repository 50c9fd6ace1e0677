package record

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// graveTime is how long a VM that has expired is remembered.
const graveTime = 24 * time.Hour

// gravesDir holds the graves, beside the VMs.
const gravesDir = ".expired"

// Grave says of a VM that it has expired, for those who ask for it within a day.
type Grave struct {
	ID         string    `json:"id"`
	Name       string    `json:"name,omitempty"`
	ExpiredAt  time.Time `json:"expired_at"`
	TTLSeconds int       `json:"ttl_seconds"`
}

// Bury remembers a VM that has expired, and forgets those of which nobody will ask any more.
func (r Root) Bury(g Grave) error {
	dir := filepath.Join(r.path, gravesDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	data, err := json.Marshal(g)
	if err != nil {
		return err
	}
	err = writeAtomically(filepath.Join(dir, g.ID+".json"), append(data, '\n'), false)
	return errors.Join(err, r.forget(dir))
}

func (r Root) forget(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > graveTime {
			err = removeIfThere(filepath.Join(dir, e.Name()))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Graves lists the VMs that expired within a day.
func (r Root) Graves() ([]Grave, error) {
	dir := filepath.Join(r.path, gravesDir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var graves []Grave
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || !ValidID(id) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		var g Grave
		if err != nil || json.Unmarshal(data, &g) != nil || g.ID != id ||
			time.Since(g.ExpiredAt) > graveTime {
			continue
		}
		graves = append(graves, g)
	}
	return graves, nil
}
