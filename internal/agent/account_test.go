package agent

import (
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const passwd = `root:x:0:0:root:/root:/bin/bash
# a comment
app:x:1000:1001:,,,:/home/app:/bin/sh
broken:x:no:1:::
+nis
1234:x:77:77::/odd:/bin/odd
`

const groupFile = "root:x:0:\nstaff:x:50:app,root\ndocker:x:999:nobody,app\nshort:x\n"

// What is no file is no table, and is not waited for.
func TestATableThatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	fifo, socket := filepath.Join(dir, "fifo"), filepath.Join(dir, "socket")
	if err := unix.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, path := range []string{fifo, socket, dir, "/dev/zero", filepath.Join(dir, "missing")} {
		if rows, err := readTable(path); err != nil || rows != nil {
			t.Errorf("%s: %v, %v", path, rows, err)
		}
		if holds(path, "x") {
			t.Errorf("%s has a content", path)
		}
	}
}

func TestFind(t *testing.T) {
	for spec, want := range map[string]account{
		"": {
			name:   "root",
			home:   "/root",
			shell:  "/bin/bash",
			groups: []uint32{50},
		},
		"app": {
			name:   "app",
			home:   "/home/app",
			shell:  "/bin/sh",
			uid:    1000,
			gid:    1001,
			groups: []uint32{50, 999},
		},
		"1000:staff": {
			name:   "app",
			home:   "/home/app",
			shell:  "/bin/sh",
			uid:    1000,
			gid:    50,
			groups: []uint32{50, 999},
		},
		"app:7": {
			name:   "app",
			home:   "/home/app",
			shell:  "/bin/sh",
			uid:    1000,
			gid:    7,
			groups: []uint32{50, 999},
		},
		"4321": {uid: 4321, home: "/"},
		"1234": {
			name:  "1234",
			uid:   77,
			gid:   77,
			home:  "/odd",
			shell: "/bin/odd",
		},
	} {
		got, err := find(spec, parseTable(passwd), parseTable(groupFile))
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(account{})); err != nil || diff != "" {
			t.Errorf("%q: %v %s", spec, err, diff)
		}
	}
	for _, spec := range []string{"nobody", "app:nobody", "-1", "broken", "4294967296"} {
		if a, err := find(spec, parseTable(passwd), parseTable(groupFile)); err == nil {
			t.Errorf("%q is %+v", spec, a)
		}
	}
	if a, err := find("0", nil, nil); err != nil || a.name != "root" || a.home != "/root" {
		t.Errorf("root without a table: %+v, %v", a, err)
	}
}

func TestEnviron(t *testing.T) {
	got := account{name: "root", home: "/root"}.environ([]string{"LANG=de_DE.UTF-8", "X=1"}, []string{"X=2"})
	slices.Sort(got)
	want := []string{"HOME=/root", "LANG=de_DE.UTF-8", "LOGNAME=root",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "SHELL=/bin/sh", "TERM=dumb",
		"USER=root", "X=2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzFind(f *testing.F) {
	f.Add("app:staff", passwd, groupFile)
	f.Add("", "root:x:0:0", "::::")
	f.Add("1", strings.Repeat(":", 100), "a:b:c:1")
	f.Fuzz(func(t *testing.T, spec, passwd, groups string) {
		a, err := find(spec, parseTable(passwd), parseTable(groups))
		if err != nil {
			return
		}
		for _, v := range a.environ() {
			if !strings.Contains(v, "=") {
				t.Errorf("%q", v)
			}
		}
	})
}
