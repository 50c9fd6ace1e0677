package cli_test

import (
	"os"
	"testing"

	"github.com/pyro-mcp/pyro/internal/cli"
	"github.com/rogpeppe/go-internal/testscript"
)

// The test binary is pyro.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"pyro": func() { os.Exit(cli.Main("1.2.3-test", os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PYRO_CACHE_DIR", e.WorkDir+"/cache")
			e.Setenv("PYRO_STATE_DIR", e.WorkDir+"/state")
			return nil
		},
	})
}
