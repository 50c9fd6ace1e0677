// Command clients writes what the clients in Python and TypeScript have of the operations, from their one
// table: the types of parameters and results, and a method for each. Run it at the repository's root:
// go run ./tools/clients.
package main

import (
	"fmt"
	"os"
)

// The generated files, from the repository's root.
const (
	typesFile      = "python/src/pyro_mcp/types.py"
	operationsFile = "python/src/pyro_mcp/_operations.py"
	asyncFile      = "python/src/pyro_mcp/_async_operations.py"
	typescriptFile = "typescript/src/operations.ts"
)

func main() {
	if err := write("."); err != nil {
		fmt.Fprintln(os.Stderr, "clients:", err)
		os.Exit(1)
	}
}

func write(root string) error {
	files, err := generate(root)
	if err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(root+"/"+name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate gives the text of each file.
func generate(root string) (map[string]string, error) {
	docs, err := readDocs(root)
	if err != nil {
		return nil, err
	}
	g := &generator{docs: docs, names: map[string]string{}}
	operations := g.operations()
	ts := &typescript{docs: docs, written: map[string]bool{}}
	return map[string]string{
		typesFile:      g.types(),
		operationsFile: operations,
		asyncFile:      asynchronous(operations),
		typescriptFile: ts.operations(),
	}, nil
}
