package pyro_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"
)

// shape is design.md's layout as data: each room, its level, and what it may import of ours. An arrow more is
// a design decision: it is made here, and seen in the diff. "." is the package at the module's root.
var shape = []room{
	{path: "internal/text", level: 0},
	{path: "internal/phase", level: 0},
	{path: "internal/screen", level: 0},
	{path: "internal/socketpair", level: 0},
	{path: "internal/wire", level: 0},
	{path: "internal/record", level: 1, may: []string{"internal/text"}},
	{path: "internal/archive", level: 0},
	{path: "internal/process", level: 0},
	{path: "internal/patch", level: 0},
	{path: "internal/confine", level: 0},
	{path: "internal/checkpoint", level: 0},
	{path: "internal/network", level: 0},
	{path: "internal/chat", level: 0},
	{path: "internal/image", level: 0},
	{path: "internal/vmm", level: 0},
	{path: "internal/vmm/gvisor", level: 2, may: []string{"internal/vmm", "internal/link"}},
	{path: "internal/vmm/qemu", level: 1,
		may: []string{"internal/vmm", "internal/confine", "internal/checkpoint", "internal/socketpair"}},
	{path: "internal/link", level: 1, may: []string{"internal/wire"}},
	{path: "internal/environment", level: 1, may: []string{"internal/image", "internal/text"}},
	{path: "internal/environment/debian", level: 2, may: []string{"internal/environment", "internal/image"}},
	{path: "internal/environment/oci", level: 2, may: []string{"internal/environment", "internal/image"}},
	{path: "internal/agent", level: 2,
		may: []string{"internal/link", "internal/wire", "internal/archive", "internal/process"}},
	{path: "internal/template", level: 2, may: []string{"internal/checkpoint"}},
	{path: "internal/hostcompat", level: 2, may: []string{
		"internal/link", "internal/wire", "internal/archive", "internal/process", "internal/confine",
		"internal/socketpair",
	}},
	{path: "internal/instances", level: 2,
		may: []string{
			"internal/link", "internal/wire", "internal/record", "internal/socketpair", "internal/phase",
		}},
	{path: "internal/guest", level: 3, may: []string{
		"internal/vmm", "internal/link", "internal/wire", "internal/network", "internal/template",
		"internal/environment",
		"internal/image", "internal/hostcompat", "internal/socketpair", "internal/phase",
	}},
	{path: "internal/supervisor", level: 4, may: []string{
		"internal/guest", "internal/link", "internal/record", "internal/wire", "internal/confine",
		"internal/phase",
	}},
	{path: ".", level: 4, may: []string{
		"internal/instances", "internal/link", "internal/environment", "internal/environment/debian",
		"internal/environment/oci", "internal/archive", "internal/record", "internal/template",
		"internal/network", "internal/patch", "internal/screen", "internal/phase",
	}},
	{path: "internal/doctor", level: 5, may: []string{
		"internal/vmm", "internal/confine", "internal/environment",
	}},
	{path: "mcpserver", level: 5, may: []string{".", "internal/text"}},
	{path: "internal/rpc", level: 5, may: []string{".", "internal/text"}},
	{path: "internal/e2b", level: 5, may: []string{"."}},
	{path: "internal/demo", level: 6, may: []string{".", "mcpserver", "internal/chat"}},
	{path: "internal/cli", level: 7, may: []string{
		".", "mcpserver", "internal/rpc", "internal/e2b", "internal/doctor", "internal/supervisor",
		"internal/demo",
		"internal/hostcompat",
		"internal/vmm", "internal/vmm/qemu", "internal/vmm/gvisor", "internal/text",
	}},
	{path: "cmd/pyro", level: 8, may: []string{"internal/cli"}},
	{path: "cmd/pyro-runsc", level: 8},
	{path: "cmd/pyro-agent", level: 8, may: []string{"internal/agent"}},

	// Rooms for tests and for building: they may import what they like, and nothing else imports them.
	{path: "internal/vmm/vmmtest", level: 9, free: true},
	{path: "internal/chat/chattest", level: 9, free: true},
	{path: "internal/socketpair/socketpairtest", level: 9, free: true},
	{path: "test", level: 9, free: true},
	{path: "bench", level: 9, free: true},
	{path: "tools", level: 9, free: true},
}

// publicPackages are those that other modules may import; all else is internal, a command or a test's.
var publicPackages = []string{".", "mcpserver"}

// limits are the sizes of the style guide.
var limits = sizes{
	fileLines:        400,
	functionLines:    80,
	interfaceMethods: 5,
	// panics lists the files that may panic, for what cannot happen.
	// internal/e2b aborts an answer that it has begun, as net/http wants it.
	panics: map[string]int{"internal/e2b/files.go": 1},
}

func TestShape(t *testing.T) {
	tree := os.DirFS(".")
	code, err := readTree(tree, modulePath(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(code.packages) < 2 {
		t.Fatalf("only %d packages found: the checker looks at the wrong place", len(code.packages))
	}
	for _, fault := range check(code, shape, publicPackages, limits) {
		t.Error(fault)
	}
}

// TestShapeSeesFaults breaks each rule in a small tree, and wants the checker to say so.
func TestShapeSeesFaults(t *testing.T) {
	const doc = "// Package a is a room.\npackage a\n"
	rooms := []room{{path: "internal/a", level: 0},
		{path: "internal/b", level: 1, may: []string{"internal/a"}},
		{path: "cmd/c", level: 2, may: []string{"internal/b"}}, {path: "test", level: 3, free: true}}
	small := sizes{
		fileLines:        30,
		functionLines:    10,
		interfaceMethods: 2,
		panics:           map[string]int{},
	}
	long := strings.Repeat("\t_ = 1\n", 12)
	faults := []struct{ name, path, text, want string }{
		{"an arrow upwards", "internal/a/a.go", doc + "import _ \"m/internal/b\"\n",
			"internal/a → internal/b"},
		{"a chain from the top", "internal/a/a.go", doc + "import _ \"m/test\"\n",
			"cmd/c → internal/b → internal/a → test"},
		{"a room without a row", "internal/d/d.go", "// Package d is new.\npackage d\n",
			"internal/d has no row"},
		{"a public package", "extra/e.go", "// Package extra is new.\npackage extra\n", "extra has no row"},
		{"a long file", "internal/a/a.go", doc + strings.Repeat("\n", 40), "lines"},
		{"a long function", "internal/a/a.go", doc + "func f() {\n" + long + "}\n", "function f"},
		{"a wide interface", "internal/a/a.go", doc + "type i interface{ a(); b(); c() }\n", "interface i"},
		{"no package comment", "internal/a/a.go", "package a\n", "package comment"},
		{"an exported function without comment", "internal/a/a.go", doc + "func F() {}\n", "F is exported"},
		{"an exported type without comment", "internal/a/a.go", doc + "type T int\n", "T is exported"},
		{"an exported method without comment", "internal/a/a.go",
			doc + "// T is.\ntype T int\n\nfunc (T) M() {}\n", "T.M is exported"},
		{"an exported variable without comment", "internal/a/a.go", doc + "var V = 1\n", "V is exported"},
		{"an init", "internal/a/a.go", doc + "func init() {}\n", "init()"},
		{"a panic", "internal/a/a.go", doc + "func f() { panic(1) }\n", "panic"},
		{"a variable that changes", "internal/a/a.go", doc + "var v int\n\nfunc f() { v = 1 }\n",
			"variable v"},
	}
	base := fstest.MapFS{
		"internal/a/a.go": {Data: []byte(doc + "\nconst x = 1\n")},
		"internal/b/b.go": {
			Data: []byte("// Package b is a room.\npackage b\n\nimport _ \"m/internal/a\"\n"),
		},
		"cmd/c/c.go": {Data: []byte("// Command c is a room.\npackage main\n\n" +
			"import _ \"m/internal/b\"\n")},
		"test/t.go": {Data: []byte("// Package test is free.\npackage test\n\nimport _ \"m/cmd/c\"\n")},
	}
	look := func(t *testing.T, tree fstest.MapFS) []string {
		code, err := readTree(tree, "m")
		if err != nil {
			t.Fatal(err)
		}
		return check(code, rooms, nil, small)
	}
	if found := look(t, base); len(found) != 0 {
		t.Fatalf("the sound tree has faults: %q", found)
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			tree := fstest.MapFS{f.path: {Data: []byte(f.text)}}
			for path, file := range base {
				if path != f.path {
					tree[path] = file
				}
			}
			if found := strings.Join(look(t, tree), "\n"); !strings.Contains(found, f.want) {
				t.Errorf("not seen: want %q in %q", f.want, found)
			}
		})
	}
	upward := []room{{path: "internal/a", level: 1, may: []string{"internal/b"}},
		{path: "internal/b", level: 1}}
	if found := checkTable(upward, nil); len(found) != 1 {
		t.Errorf("an arrow on one level in the table itself: got %q", found)
	}
}

func modulePath(t *testing.T) string {
	out, err := exec.Command("go", "list", "-m").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestGVisorVersion holds the companion program's gVisor to pyro's.
func TestGVisorVersion(t *testing.T) {
	version := func(path string) string {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(data), "gvisor.dev/gvisor ")
		line, _, _ := strings.Cut(rest, "\n")
		return line
	}
	if want, have := version("go.mod"), version("cmd/pyro-runsc/go.mod"); want == "" || have != want {
		t.Errorf("pyro-runsc is built with gVisor %q, pyro with %q", have, want)
	}
}
