package main

import (
	"os"
	"testing"
)

// The Python package has the operations as the engine declares them now.
func TestGeneratedFilesAreCurrent(t *testing.T) {
	files, err := generate("../..")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		have, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		if string(have) != want {
			t.Errorf("%s is not what the engine declares: go run ./tools/clients", name)
		}
	}
}
