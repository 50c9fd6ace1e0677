// Package built finds the program that tests of the whole product run, and says what to do if there is none.
package built

import (
	"fmt"
	"os"
	"path/filepath"
)

// Program returns the path of the built program: $PYRO_BINARY, else bin/pyro of this tree. It is for tests
// two folders below the root, and ends the test binary with a word to the person if nothing was built.
func Program() string {
	path := os.Getenv("PYRO_BINARY")
	if path == "" {
		path = "../../bin/pyro"
	}
	path, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%v\nThese tests run the built program on real guests. 'make test' "+
			"prepares and runs "+
			"everything; 'make build' is enough if QEMU and debian:12 are there.\n", err)
		os.Exit(1)
	}
	return path
}
