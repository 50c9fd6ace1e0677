package pyro_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// The rules of this file are for all Go code, tests included:
//   - no line is longer than 110 columns, a tab being four, but for raw strings and single long words;
//   - a composite literal with more than three keyed fields has one on each line;
//
// and for all but tests:
//   - an arrow of the layout is used;
//   - a name that is exported in internal/ is used by code that is no test.
const columns = 110

func TestShapeRules(t *testing.T) {
	tree := os.DirFS(".")
	for _, fault := range checkText(tree) {
		t.Error(fault)
	}
	code, err := readTree(tree, modulePath(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range unusedArrows(code, shape) {
		t.Error(fault)
	}
	for name, fault := range unusedNames(code) {
		if !slices.Contains(forTests, name) {
			t.Error(fault)
		}
	}
}

// forTests are names that are there for tests: to range over, or to stand in for a machine.
var forTests = []string{
	"internal/link Causes", "internal/instances Causes", "internal/agent Inside", "internal/vmm Accelerators",
}

// checkText looks at each Go file as text: its lines, and how its literals are laid out.
func checkText(tree fs.FS) []string {
	var faults []string
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() && name != "." && (base[0] == '.' || base == "node_modules" || base == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || path.Ext(name) != ".go" {
			return nil
		}
		data, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		faults = append(faults, longLines(name, data)...)
		more, err := crowdedLiterals(name, data)
		faults = append(faults, more...)
		return err
	})
	if err != nil {
		faults = append(faults, err.Error())
	}
	return faults
}

func longLines(name string, data []byte) []string {
	var faults []string
	raw := rawStringLines(data)
	for i, line := range strings.Split(string(data), "\n") {
		width := len([]rune(strings.ReplaceAll(line, "\t", "    ")))
		if width <= columns || raw[i+1] || len(strings.Fields(line)) <= 2 {
			continue
		}
		faults = append(faults, fmt.Sprintf("%s:%d: %d columns, %d at most", name, i+1, width, columns))
	}
	return faults
}

// rawStringLines are the lines with a part of a raw string, which cannot be broken.
func rawStringLines(data []byte) map[int]bool {
	lines := map[int]bool{}
	file := token.NewFileSet().AddFile("", 1, len(data))
	var s scanner.Scanner
	s.Init(file, data, nil, 0)
	for {
		at, kind, text := s.Scan()
		if kind == token.EOF {
			return lines
		}
		if kind == token.STRING && text[0] == '`' {
			first := file.Line(at)
			for n := range strings.Count(text, "\n") + 1 {
				lines[first+n] = true
			}
		}
	}
}

func crowdedLiterals(name string, data []byte) ([]string, error) {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, name, data, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var faults []string
	line := func(at token.Pos) int { return fset.Position(at).Line }
	ast.Inspect(tree, func(n ast.Node) bool {
		literal, ok := n.(*ast.CompositeLit)
		if !ok || len(literal.Elts) <= 3 || !isStruct(literal) {
			return true
		}
		last := line(literal.Lbrace)
		for _, e := range literal.Elts {
			if line(e.Pos()) == last {
				faults = append(faults, fmt.Sprintf("%s: %d fields, not one a line",
					fset.Position(literal.Pos()), len(literal.Elts)))
				break
			}
			last = line(e.End())
		}
		return true
	})
	return faults, nil
}

// isStruct is about literals whose keys are all plain names; a map of constants looks the same if its type
// is not at hand.
func isStruct(literal *ast.CompositeLit) bool {
	switch literal.Type.(type) {
	case *ast.MapType, *ast.ArrayType:
		return false
	}
	return !slices.ContainsFunc(literal.Elts, func(e ast.Expr) bool {
		pair, ok := e.(*ast.KeyValueExpr)
		if !ok {
			return true
		}
		_, named := pair.Key.(*ast.Ident)
		return !named
	})
}

// unusedArrows are those of the table that no file of the room goes.
func unusedArrows(s source, rooms []room) []string {
	var faults []string
	for _, r := range rooms {
		used := map[string]bool{}
		for _, f := range s.packages[r.path] {
			for _, spec := range f.tree.Imports {
				if to, ours := s.ours(spec); ours {
					used[to] = true
				}
			}
		}
		for _, to := range r.may {
			if !used[to] {
				faults = append(faults, fmt.Sprintf("the table lets %s import %s, which it does not", r.path,
					to))
			}
		}
	}
	return faults
}

// unusedNames are exported names in internal/ that no code uses but tests. A method counts as used if any
// method or field of its name is asked for, or an interface has one: types are not resolved here. What is not
// exported is staticcheck's.
func unusedNames(s source) map[string]string {
	declared := map[string]token.Pos{} // "dir name" or "dir type.method"
	used, methods := map[string]bool{}, map[string]bool{}
	for dir, files := range s.packages {
		for _, f := range files {
			if strings.HasPrefix(dir, "internal/") && !isForTests(dir) {
				declare(dir, f, declared)
			}
			s.collectUses(dir, f, used, methods)
		}
	}
	faults := map[string]string{}
	for name, at := range declared {
		_, method, isMethod := strings.Cut(name, ".")
		if used[name] || isMethod && (methods[method] || isStandardMethod(method) ||
			method == "MarshalJSON" || method == "UnmarshalJSON") {
			continue
		}
		faults[name] = fmt.Sprintf("%s: nobody uses %s but perhaps tests", s.fset.Position(at), name)
	}
	return faults
}

func isForTests(dir string) bool {
	r, ok := roomOf(shape, dir)
	return ok && r.free
}

func declare(dir string, f file, declared map[string]token.Pos) {
	for _, d := range f.tree.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				receiver := receiverName(d.Recv.List[0].Type)
				if !ast.IsExported(receiver) {
					continue // it is there for an interface
				}
				name = receiver + "." + name
			}
			if d.Name.IsExported() {
				declared[dir+" "+name] = d.Pos()
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					if spec.Name.IsExported() {
						declared[dir+" "+spec.Name.Name] = spec.Pos()
					}
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						if name.IsExported() {
							declared[dir+" "+name.Name] = name.Pos()
						}
					}
				}
			}
		}
	}
}

// collectUses notes the names that a file asks for: of other rooms, of its own, and of whatever has methods.
func (s source) collectUses(dir string, f file, used, methods map[string]bool) {
	imports := map[string]string{}
	for _, spec := range f.tree.Imports {
		if to, ours := s.ours(spec); ours {
			name := path.Base(to)
			if to == "." {
				name = path.Base(s.module)
			}
			if spec.Name != nil {
				name = spec.Name.Name
			}
			imports[name] = to
		}
	}
	declaring := map[*ast.Ident]bool{}
	ast.Inspect(f.tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			declaring[n.Name] = true
		case *ast.TypeSpec:
			declaring[n.Name] = true
		case *ast.ValueSpec:
			for _, name := range n.Names {
				declaring[name] = true
			}
		case *ast.InterfaceType:
			for _, m := range n.Methods.List {
				for _, name := range m.Names {
					methods[name.Name] = true
				}
			}
		case *ast.SelectorExpr:
			if from, ok := n.X.(*ast.Ident); ok && imports[from.Name] != "" {
				used[imports[from.Name]+" "+n.Sel.Name] = true
			}
			methods[n.Sel.Name] = true
		case *ast.Ident:
			if !declaring[n] {
				used[dir+" "+n.Name] = true
			}
		}
		return true
	})
}

// TestShapeRulesSeeFaults breaks each rule in a small tree.
func TestShapeRulesSeeFaults(t *testing.T) {
	const doc = "// Package a is a room.\npackage a\n\n"
	text := func(code string) []string {
		return checkText(fstest.MapFS{"internal/a/a.go": {Data: []byte(doc + code)}})
	}
	for code, want := range map[string]string{
		"// " + strings.Repeat("word ", 22) + "\n":              "a.go:4: 113 columns",
		"var _ = t{a: 1, b: 2, c: 3, d: 4}\n":                   "4 fields",
		"var _ = t{\n\ta: 1,\n\tb: 2,\n\tc: 3, d: 4,\n}\n":      "4 fields",
		"var _ = t{a: 1, b: 2, c: 3}\n":                         "",
		"var _ = map[k]int{a: 1, b: 2, c: 3, d: 4}\n":           "",
		"var _ = t{\n\ta: 1,\n\tb: 2,\n\tc: 3,\n\td: 4,\n}\n":   "",
		"var _ = `" + strings.Repeat("word ", 22) + "`\n":       "",
		"// https://example.org/" + strings.Repeat("x", 100):    "",
		"//\t" + strings.Repeat("\t", 20) + " a table  of ours": "",
	} {
		got := strings.Join(text(code), "\n")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q gives %q, not %q", code, got, want)
		}
	}
	code, err := readTree(fstest.MapFS{
		"internal/a/a.go": {Data: []byte(doc + "type T int\n\nfunc (T) M() {}\n\nfunc (T) N() {}\n\n" +
			"func F() {}\n\nfunc G() { G2() }\n\nfunc G2() {}\n")},
		"internal/b/b.go": {Data: []byte("package b\n\nimport \"m/internal/a\"\n\n" +
			"func init() { var x a.T; x.N(); a.G() }\n")},
	}, "m")
	if err != nil {
		t.Fatal(err)
	}
	got := slices.Sorted(maps.Keys(unusedNames(code)))
	if !slices.Equal(got, []string{"internal/a F", "internal/a T.M"}) {
		t.Errorf("unused names: %q", got)
	}
	rooms := []room{{path: "internal/a"}, {path: "internal/c"}, {path: "internal/b", level: 1,
		may: []string{"internal/a", "internal/c"}}}
	if got := unusedArrows(code, rooms); len(got) != 1 || !strings.Contains(got[0], "internal/c") {
		t.Errorf("unused arrows: %q", got)
	}
}
