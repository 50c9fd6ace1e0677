package image

import (
	"bytes"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// readCPIO reads an archive as the kernel does, up to its trailer, and returns what follows.
func readCPIO(t *testing.T, b []byte) (lines []string, rest []byte) {
	t.Helper()
	at := 0
	take := func(n int) string {
		from := at
		at += (n + 3) &^ 3
		return string(b[from : from+n])
	}
	for {
		if string(b[at:at+6]) != "070701" {
			t.Fatalf("no record at byte %d", at)
		}
		var field [13]uint64
		for i := range field {
			n, err := strconv.ParseUint(string(b[at+6+8*i:at+14+8*i]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			field[i] = n
		}
		name := strings.TrimRight(take(110 + int(field[11]))[110:], "\x00")
		data := take(int(field[6]))
		if name == "TRAILER!!!" {
			return lines, bytes.TrimLeft(b[at:], "\x00")
		}
		lines = append(lines, fmt.Sprintf("%s %o %d,%d %s", name, field[1], field[9], field[10], data))
	}
}

func TestWriteInitramfs(t *testing.T) {
	var out bytes.Buffer
	files := []InitFile{
		{"/init", 0o755, []byte("agent")},
		{"lib/modules/a.ko", 0o644, []byte("abc")},
		{"lib/modules/b.ko", 0o644, nil},
		{"dev", fs.ModeDir | 0o700, nil},
		{"sbin/init", fs.ModeSymlink | 0o777, []byte("/init")},
	}
	if err := WriteInitramfs(&out, files); err != nil {
		t.Fatal(err)
	}
	if out.Len()%cpioPad != 0 {
		t.Errorf("%d bytes are not padded", out.Len())
	}
	one := bytes.Clone(out.Bytes())
	if err := WriteInitramfs(&out, files); err != nil {
		t.Fatal(err)
	}
	lines, rest := readCPIO(t, out.Bytes())
	want := "init 100755 0,0 agent|lib 40755 0,0 |lib/modules 40755 0,0 |lib/modules/a.ko 100644 0,0 abc|" +
		"lib/modules/b.ko 100644 0,0 |dev 40700 0,0 |sbin 40755 0,0 |sbin/init 120777 0,0 " +
		"/init|dev/console 20600 5,1 "
	if got := strings.Join(lines, "|"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !bytes.Equal(rest, bytes.TrimRight(one, "\x00")) && !bytes.Equal(rest, one) {
		t.Error("a second archive on end is not the same as the first")
	}
	for _, f := range []InitFile{{"../a", 0, nil}, {"/", 0, nil}, {"a", fs.ModeNamedPipe, nil}} {
		if err := WriteInitramfs(&out, []InitFile{f}); err == nil {
			t.Errorf("%+v was taken", f)
		}
	}
}

func TestWriteScratch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scratch")
	if err := WriteScratch(path, ScratchSize-1); err == nil {
		t.Error("too small a disk was made")
	}
	check, err := exec.LookPath("e2fsck")
	if err != nil {
		check = "/sbin/e2fsck" // not on the path of all users
	}
	for _, size := range []int64{ScratchSize, 8<<30 - 1, 8 << 30, 8<<30 + 1<<20} {
		path := filepath.Join(t.TempDir(), "scratch")
		if err := WriteScratch(path, size); err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil || st.Size != size || st.Blocks > 2<<20/512 {
			t.Errorf("size %d with %d bytes on the disk: %v", st.Size, st.Blocks*512, err)
		}
		if err := WriteScratch(path, size); err == nil {
			t.Error("a disk that exists was overwritten")
		}
		run(t, check, "-f", "-n", path)
	}
}
