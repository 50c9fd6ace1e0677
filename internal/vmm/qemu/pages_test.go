package qemu

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// own maps private memory of this process, over a file of ones if based, and gives it as a guest's.
func own(t *testing.T, pages int, based bool) ([]byte, memory) {
	t.Helper()
	fd, flags := -1, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS
	if based {
		base, err := os.Create(filepath.Join(t.TempDir(), "base"))
		if err != nil {
			t.Fatal(err)
		}
		defer base.Close()
		if _, err := base.Write(bytes.Repeat([]byte{1}, pages*pageSize)); err != nil {
			t.Fatal(err)
		}
		fd, flags = int(base.Fd()), unix.MAP_PRIVATE
	}
	b, err := unix.Mmap(fd, 0, pages*pageSize, unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(b) })
	return b, memory{
		pid:   os.Getpid(),
		start: uint64(uintptr(unsafe.Pointer(&b[0]))),
		size:  int64(len(b)),
		based: based,
	}
}

// TestSavedPages saves twice, as a snapshot does, and loads what was saved over a fresh base.
func TestSavedPages(t *testing.T) {
	for name, based := range map[string]bool{"over a file": true, "of its own": false} {
		t.Run(name, func(t *testing.T) {
			const pages = 1000
			guest, m := own(t, pages, based)
			out, err := os.Create(filepath.Join(t.TempDir(), "pages"))
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			if err := out.Truncate(m.size); err != nil {
				t.Fatal(err)
			}
			page := func(i int) []byte { return guest[i*pageSize : (i+1)*pageSize] }
			copy(page(3), "three")
			clear(page(5)) // zeros in place of the base's ones
			for i := 300; i < 700; i++ {
				copy(page(i), "many")
			}
			if _, err := m.save(out); err != nil {
				t.Fatal(err)
			}
			copy(page(3), "THREE")
			clear(page(400))
			clear(page(900)) // new, and zeros
			copy(page(999), "last")
			n, err := m.save(out)
			if err != nil {
				t.Fatal(err)
			}
			if most := int64(4 * pageSize); n > most {
				t.Errorf("%d bytes were written again for 4 pages", n)
			}
			fork, to := own(t, pages, based)
			if err := to.load(out); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(guest, fork) {
				t.Error("what was loaded is not what was saved")
			}
		})
	}
}

// TestParseMapping reads lines of the kernel's.
func TestParseMapping(t *testing.T) {
	start, end, inode, ok := parseMapping("7f0000000000-7f0040000000 rw-p 0 fe:00 131 /templates/memory")
	if !ok || start != 0x7f0000000000 || end-start != 1<<30 || inode != 131 {
		t.Errorf("got %x %x %d %t", start, end, inode, ok)
	}
	for _, line := range []string{
		"", "7f0000000000-7f0040000000 rw-s 0 fe:00 131 /x", "7f00-7e00 rw-p 0 fe:00 131", "zz-1 rw-p 0 0 0",
	} {
		if _, _, _, ok := parseMapping(line); ok {
			t.Errorf("%q is taken for memory that can be kept", line)
		}
	}
}
