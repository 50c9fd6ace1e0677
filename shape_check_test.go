package pyro_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// room is a row of the layout. A free room may import anything and be imported by free rooms only.
type room struct {
	path  string
	level int
	may   []string
	free  bool
}

type sizes struct {
	fileLines, functionLines, interfaceMethods int
	panics                                     map[string]int
}

// source is a module's tree without its tests.
type source struct {
	packages map[string][]file // by directory, "." for the root
	fset     *token.FileSet
	module   string
}

type file struct {
	name  string
	lines int
	tree  *ast.File
}

func readTree(tree fs.FS, module string) (source, error) {
	s := source{packages: map[string][]file{}, fset: token.NewFileSet(), module: module}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			base := d.Name()
			if name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") ||
				base == "testdata" || base == "node_modules" || base == "python") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		data, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(s.fset, name, data, parser.ParseComments)
		if err != nil {
			return err
		}
		dir := path.Dir(name)
		s.packages[dir] = append(s.packages[dir],
			file{name: name, lines: bytes.Count(data, []byte("\n")), tree: parsed})
		return nil
	})
	return s, err
}

func check(s source, rooms []room, public []string, limit sizes) []string {
	faults := checkTable(rooms, public)
	faults = append(faults, checkArrows(s, rooms)...)
	for _, dir := range slices.Sorted(maps.Keys(s.packages)) {
		documented := false
		variables := map[string]bool{}
		for _, f := range s.packages[dir] {
			documented = documented || f.tree.Doc != nil
			collectVariables(f.tree, variables)
		}
		if !documented {
			faults = append(faults, dir+" has no package comment")
		}
		for _, f := range s.packages[dir] {
			faults = append(faults, checkFile(s, f, limit, variables)...)
		}
	}
	return faults
}

// checkTable looks at the layout itself: arrows go to a lower level, and what is not internal is meant to be
// public.
func checkTable(rooms []room, public []string) []string {
	var faults []string
	for _, r := range rooms {
		for _, to := range r.may {
			i := slices.IndexFunc(rooms, func(o room) bool { return o.path == to })
			if i < 0 {
				faults = append(faults, fmt.Sprintf("the table lets %s import %s, which has no row", r.path,
					to))
			} else if rooms[i].level >= r.level {
				faults = append(faults, fmt.Sprintf("the table lets %s (level %d) import %s (level %d)",
					r.path, r.level, to, rooms[i].level))
			}
		}
		hidden := strings.HasPrefix(r.path, "internal/") || strings.HasPrefix(r.path, "cmd/") || r.free
		if public != nil && !hidden && !slices.Contains(public, r.path) {
			faults = append(faults, fmt.Sprintf("%s would be public, and is not listed so", r.path))
		}
	}
	return faults
}

func checkArrows(s source, rooms []room) []string {
	var faults []string
	imports := map[string][]string{}
	for dir, files := range s.packages {
		for _, f := range files {
			for _, spec := range f.tree.Imports {
				if to, ours := s.ours(spec); ours && !slices.Contains(imports[dir], to) {
					imports[dir] = append(imports[dir], to)
				}
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(s.packages)) {
		r, ok := roomOf(rooms, dir)
		if !ok {
			faults = append(faults, dir+" has no row in the layout")
			continue
		}
		for _, to := range imports[dir] {
			target, known := roomOf(rooms, to)
			if r.free || known && target.path == r.path || slices.Contains(r.may, to) {
				continue
			}
			faults = append(faults, fmt.Sprintf("%s: %s may import only %q",
				strings.Join(append(chainTo(imports, dir), to), " → "), dir, r.may))
		}
	}
	return faults
}

// chainTo gives the shortest way by imports from a command to dir.
func chainTo(imports map[string][]string, dir string) []string {
	var queue [][]string
	for _, from := range slices.Sorted(maps.Keys(imports)) {
		if strings.HasPrefix(from, "cmd/") {
			queue = append(queue, []string{from})
		}
	}
	seen := map[string]bool{}
	for len(queue) > 0 {
		chain := queue[0]
		queue = queue[1:]
		last := chain[len(chain)-1]
		if last == dir {
			return chain
		}
		if seen[last] {
			continue
		}
		seen[last] = true
		for _, to := range imports[last] {
			queue = append(queue, append(slices.Clone(chain), to))
		}
	}
	return []string{dir}
}

// roomOf finds the row of a package. A free room covers the packages under it.
func roomOf(rooms []room, dir string) (room, bool) {
	for _, r := range rooms {
		if r.path == dir || r.free && strings.HasPrefix(dir, r.path+"/") {
			return r, true
		}
	}
	return room{}, false
}

func (s source) ours(spec *ast.ImportSpec) (string, bool) {
	name, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return "", false
	}
	if name == s.module {
		return ".", true
	}
	return strings.CutPrefix(name, s.module+"/")
}

func checkFile(s source, f file, limit sizes, variables map[string]bool) []string {
	var faults []string
	add := func(at token.Pos, format string, args ...any) {
		faults = append(faults, fmt.Sprintf("%s: %s", s.fset.Position(at), fmt.Sprintf(format, args...)))
	}
	if f.lines > limit.fileLines {
		add(f.tree.Package, "%d lines, %d at most", f.lines, limit.fileLines)
	}
	panics := 0
	ast.Inspect(f.tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if lines := s.lines(n); lines > limit.functionLines {
				add(n.Pos(), "function %s has %d lines, %d at most", n.Name.Name, lines, limit.functionLines)
			}
			if n.Recv == nil && n.Name.Name == "init" {
				add(n.Pos(), "init() hides work")
			}
		case *ast.TypeSpec:
			if it, ok := n.Type.(*ast.InterfaceType); ok && it.Methods.NumFields() > limit.interfaceMethods {
				add(n.Pos(), "interface %s has %d methods, %d at most", n.Name.Name, it.Methods.NumFields(),
					limit.interfaceMethods)
			}
		case *ast.CallExpr:
			if name, ok := n.Fun.(*ast.Ident); ok && name.Name == "panic" {
				if panics++; panics > limit.panics[f.name] {
					add(n.Pos(), "a panic that is not on the list")
				}
			}
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, left := range n.Lhs {
					if name, ok := left.(*ast.Ident); ok && variables[name.Name] &&
						isPackageLevel(f.tree, name) {
						add(n.Pos(), "package variable %s changes", name.Name)
					}
				}
			}
		}
		return true
	})
	for _, decl := range f.tree.Decls {
		checkComments(decl, add)
	}
	return faults
}

func (s source) lines(n ast.Node) int {
	return s.fset.Position(n.End()).Line - s.fset.Position(n.Pos()).Line + 1
}

func collectVariables(tree *ast.File, into map[string]bool) {
	for _, decl := range tree.Decls {
		if group, ok := decl.(*ast.GenDecl); ok && group.Tok == token.VAR {
			for _, spec := range group.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					into[name.Name] = name.Name != "_"
				}
			}
		}
	}
}

// isPackageLevel says whether an identifier is not one of the function's own.
func isPackageLevel(tree *ast.File, name *ast.Ident) bool {
	return name.Obj == nil || tree.Scope.Lookup(name.Name) == name.Obj
}

func checkComments(decl ast.Decl, add func(token.Pos, string, ...any)) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		name := d.Name.Name
		if d.Recv != nil {
			receiver := receiverName(d.Recv.List[0].Type)
			if !ast.IsExported(receiver) || isStandardMethod(name) {
				return
			}
			name = receiver + "." + name
		}
		if d.Name.IsExported() && d.Doc == nil {
			add(d.Pos(), "%s is exported without a comment", name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if spec.Name.IsExported() && d.Doc == nil && spec.Doc == nil {
					add(spec.Pos(), "%s is exported without a comment", spec.Name.Name)
				}
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					if name.IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
						add(spec.Pos(), "%s is exported without a comment", name.Name)
					}
				}
			}
		}
	}
}

// isStandardMethod lists methods whose meaning the standard library has fixed.
func isStandardMethod(name string) bool {
	return slices.Contains([]string{"Error", "String", "Unwrap", "Is", "As", "Close", "Read", "Write", "Len",
		"Less", "Swap"}, name)
}

func receiverName(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiverName(t.X)
	case *ast.IndexExpr:
		return receiverName(t.X)
	case *ast.IndexListExpr:
		return receiverName(t.X)
	case *ast.Ident:
		return t.Name
	}
	return ""
}
