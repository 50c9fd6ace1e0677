package record

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestGraves(t *testing.T) {
	root := NewRoot(t.TempDir())
	if graves, err := root.Graves(); err != nil || len(graves) != 0 {
		t.Errorf("%v, %v", graves, err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	old := Grave{ID: "task-000000000001", ExpiredAt: now.Add(-2 * graveTime), TTLSeconds: 5}
	young := Grave{
		ID:         "task-000000000002",
		Name:       "mine",
		ExpiredAt:  now,
		TTLSeconds: 600,
	}
	if err := root.Bury(old); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root.path, gravesDir, old.ID+".json")
	if err := os.Chtimes(path, old.ExpiredAt, old.ExpiredAt); err != nil {
		t.Fatal(err)
	}
	if err := root.Bury(young); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the old one is kept: %v", err)
	}
	graves, err := root.Graves()
	if err != nil || len(graves) != 1 || graves[0] != young {
		t.Errorf("%+v, %v", graves, err)
	}
	if ids, err := root.IDs(); err != nil || len(ids) != 0 {
		t.Errorf("%v, %v", ids, err)
	}
}
