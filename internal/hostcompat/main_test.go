package hostcompat

import (
	"os"
	"testing"
)

// TestMain makes the test binary the pyro that is re-executed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Subcommand {
		os.Exit(Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func TestProbe(t *testing.T) {
	r := Probe(t.Context())
	t.Log(r)
	for _, l := range r {
		t.Log(l)
	}
}
