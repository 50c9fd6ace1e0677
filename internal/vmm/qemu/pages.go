package qemu

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/checkpoint"
)

const (
	pageSize  = 4096
	pieceSize = 1 << 20 // of memory that is read at once
)

// memory is a guest's memory in QEMU's address space.
type memory struct {
	pid   int
	start uint64
	size  int64
	based bool   // over a file, so that a page of zeros says something
	saved []bool // pages that were, by their numbers
}

// extent is adjoining pages, in bytes from the beginning of the guest's memory.
type extent struct{ at, size int64 }

// findMemory finds the guest's memory among QEMU's mappings: that of its file, named by its
// inode, or if that is 0 the anonymous one of its size.
func findMemory(pid int, file uint64, size int64) (memory, error) {
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return memory{}, err
	}
	defer maps.Close()
	var found []memory
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		start, end, inode, ok := parseMapping(lines.Text())
		if ok && inode == file && int64(end-start) == size {
			found = append(found, memory{
				pid:   pid,
				start: start,
				size:  size,
				based: file != 0,
			})
		}
	}
	if len(found) != 1 {
		return memory{}, fmt.Errorf("qemu has %d mappings that could be the guest's memory", len(found))
	}
	return found[0], nil
}

// parseMapping reads a line of /proc/PID/maps that is about private memory which may be written.
func parseMapping(line string) (start, end, inode uint64, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 5 || !strings.HasPrefix(fields[1], "rw-p") {
		return 0, 0, 0, false
	}
	from, to, _ := strings.Cut(fields[0], "-")
	start, err1 := strconv.ParseUint(from, 16, 64)
	end, err2 := strconv.ParseUint(to, 16, 64)
	inode, err3 := strconv.ParseUint(fields[4], 10, 64)
	return start, end, inode, errors.Join(err1, err2, err3) == nil && end > start
}

// written finds the pages that the guest has written: those that are QEMU's own rather than its file's.
func (m memory) written() ([]extent, error) {
	pagemap, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", m.pid))
	if err != nil {
		return nil, err
	}
	defer pagemap.Close()
	var runs []extent
	err = checkpoint.EachWritten(pagemap, m.start, m.start+uint64(m.size), func(address uint64) {
		page := int64(address - m.start)
		if last := len(runs) - 1; last >= 0 && runs[last].at+runs[last].size == page &&
			runs[last].size < pieceSize {
			runs[last].size += pageSize
		} else {
			runs = append(runs, extent{page, pageSize})
		}
	})
	if err != nil {
		return nil, fmt.Errorf("cannot tell which pages the guest has written: %w", err)
	}
	return runs, nil
}

// save writes the pages that the guest has written into out, each in its place, and gives the number of
// bytes that it wrote. Called again it writes those that are new or have changed.
func (m *memory) save(out *os.File) (int64, error) {
	runs, err := m.written()
	if err != nil {
		return 0, err
	}
	if m.saved == nil {
		m.saved = make([]bool, m.size/pageSize)
	}
	return each(runs, func(buf, old []byte, r extent) (int64, error) {
		if err := m.read(buf, r.at); err != nil {
			return 0, err
		}
		if _, err := out.ReadAt(old, r.at); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		return m.saveChanged(out, buf, old, r.at)
	})
}

// saveChanged writes those pages of one extent that out does not have as they are. A page that was never
// saved reads as zeros there, and is none: in its place is the base's.
func (m *memory) saveChanged(out *os.File, buf, old []byte, at int64) (n int64, err error) {
	for i := 0; i < len(buf); {
		end := i
		for end < len(buf) {
			page := (at + int64(end)) / pageSize
			known := m.saved[page] || !m.based
			if known && bytes.Equal(buf[end:end+pageSize], old[end:end+pageSize]) {
				break
			}
			m.saved[page] = true
			end += pageSize
		}
		if end == i {
			i += pageSize
			continue
		}
		if _, err := out.WriteAt(buf[i:end], at+int64(i)); err != nil {
			return n, err
		}
		n, i = n+int64(end-i), end
	}
	return n, nil
}

// load writes what a file of save's has into the guest's memory.
func (m memory) load(from *os.File) error {
	runs, err := data(from, m.size)
	if err != nil {
		return err
	}
	_, err = each(runs, func(buf, _ []byte, r extent) (int64, error) {
		if _, err := from.ReadAt(buf, r.at); err != nil {
			return 0, err
		}
		return int64(len(buf)), m.write(buf, r.at)
	})
	return err
}

// data lists what is not a hole in a sparse file.
func data(f *os.File, size int64) ([]extent, error) {
	var runs []extent
	for at := int64(0); at < size; {
		from, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		if err != nil {
			return nil, err
		}
		if at, err = unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE); err != nil {
			return nil, err
		}
		for ; from < at; from += pieceSize {
			runs = append(runs, extent{from, min(pieceSize, at-from)})
		}
	}
	return runs, nil
}

// each does something with all runs, on as many processors as there are, and sums what it gives.
func each(runs []extent, do func(buf, other []byte, r extent) (int64, error)) (int64, error) {
	var mu sync.Mutex
	var next int
	var sum int64
	var failed []error
	var workers sync.WaitGroup
	for range min(runtime.NumCPU(), 4) {
		workers.Go(func() {
			buf, other := make([]byte, pieceSize), make([]byte, pieceSize)
			for {
				mu.Lock()
				i := next
				next++
				stop := i >= len(runs) || failed != nil
				mu.Unlock()
				if stop {
					return
				}
				n, err := do(buf[:runs[i].size], other[:runs[i].size], runs[i])
				mu.Lock()
				sum += n
				if err != nil {
					failed = append(failed, err)
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return sum, errors.Join(failed...)
}

func (m memory) read(buf []byte, at int64) error {
	n, err := unix.ProcessVMReadv(m.pid, iovec(buf), m.remote(buf, at), 0)
	return whole(n, len(buf), err)
}

func (m memory) write(buf []byte, at int64) error {
	n, err := unix.ProcessVMWritev(m.pid, iovec(buf), m.remote(buf, at), 0)
	return whole(n, len(buf), err)
}

func (m memory) remote(buf []byte, at int64) []unix.RemoteIovec {
	return []unix.RemoteIovec{{Base: uintptr(m.start) + uintptr(at), Len: len(buf)}}
}

func iovec(buf []byte) []unix.Iovec {
	v := []unix.Iovec{{Base: &buf[0]}}
	v[0].SetLen(len(buf))
	return v
}

func whole(n, want int, err error) error {
	if err == nil && n != want {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("cannot reach qemu's memory: %w", err)
	}
	return nil
}
