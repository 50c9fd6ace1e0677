package pyro_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// TestFilesPointDown wants the files of the root package, which is the largest, to stand on each other like
// rooms do: types, bounds, options, the engine, what reaches VMs, operations. A way back up would be a cycle.
func TestFilesPointDown(t *testing.T) {
	arrows, err := fileArrows(os.DirFS("."), ".")
	if err != nil {
		t.Fatal(err)
	}
	if len(arrows) < 10 {
		t.Fatalf("only %d files name each other: the checker looks at the wrong place", len(arrows))
	}
	if loop := cycle(arrows); loop != nil {
		t.Errorf("files point back up: %s", strings.Join(loop, " → "))
	}
}

func TestFilesPointDownSeesACycle(t *testing.T) {
	tree := fstest.MapFS{
		"a.go": {Data: []byte("package p\n\nimport \"x/unknown\"\n\nvar A = unknown.F(B)\n")},
		"b.go": {Data: []byte("package p\n\ntype T struct{}\n\nconst B = 1\n\nfunc (T) F() { g() }\n")},
		"c.go": {Data: []byte("package p\n\nfunc g() { _ = A }\n")},
	}
	arrows, err := fileArrows(tree, ".")
	if err != nil {
		t.Fatal(err)
	}
	loop := cycle(arrows)
	if len(loop) != 4 || loop[0] != loop[3] {
		t.Errorf("%v gives %v", arrows, loop)
	}
	delete(arrows["c.go"], "a.go")
	if loop := cycle(arrows); loop != nil {
		t.Errorf("%v gives %v", arrows, loop)
	}
}

// fileArrows tells which files of a package name functions, types, methods and constants of which others.
func fileArrows(tree fs.FS, dir string) (map[string]map[string]bool, error) {
	names, err := fs.Glob(tree, path.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		data, err := fs.ReadFile(tree, name)
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(set, name, data, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	// What is imported stays unknown: names of the package itself are found all the same.
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: noImports{}, Error: func(error) {}}
	pkg, _ := config.Check(dir, set, files, info)
	arrows := map[string]map[string]bool{}
	for use, object := range info.Uses {
		if field, ok := object.(*types.Var); object.Pkg() != pkg || ok && field.IsField() {
			continue
		}
		from, to := set.Position(use.Pos()).Filename, set.Position(object.Pos()).Filename
		if from != to {
			if arrows[from] == nil {
				arrows[from] = map[string]bool{}
			}
			arrows[from][to] = true
		}
	}
	return arrows, nil
}

type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("not imported") }

// cycle gives a way from a node back to it, or nil.
func cycle(arrows map[string]map[string]bool) []string {
	done := map[string]bool{}
	var way []string
	var visit func(node string) []string
	visit = func(node string) []string {
		if i := slices.Index(way, node); i >= 0 {
			return append(slices.Clone(way[i:]), node)
		}
		if done[node] {
			return nil
		}
		way = append(way, node)
		for _, next := range slices.Sorted(maps.Keys(arrows[node])) {
			if loop := visit(next); loop != nil {
				return loop
			}
		}
		way, done[node] = way[:len(way)-1], true
		return nil
	}
	for _, node := range slices.Sorted(maps.Keys(arrows)) {
		if loop := visit(node); loop != nil {
			return loop
		}
	}
	return nil
}
