package checkpoint

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	pageSize = 4096
	// maxGap is how many pages that need not be kept are kept rather than to cut a mapping in two.
	maxGap = 8
	// stackSize is what the first thread's stack may grow to, which the kernel sees to for other stacks than
	// that of a checkpoint.
	stackSize = 8 << 20
	// pieceSize is how much memory is read at once.
	pieceSize = 1 << 20
)

// region is a line of /proc/PID/maps.
type region struct {
	start, end uint64
	prot       uint64
	shared     bool
	offset     uint64
	inode      uint64
	name       string
	own        []extent // what it has that its file has not, in order
}

// extent is a part of a region that is kept in the checkpoint.
type extent struct {
	start, end uint64
	at         int64 // in the checkpoint
}

func (r region) size() uint64 { return r.end - r.start }

// special tells whether a region is made by the kernel for each process: it is moved, not kept.
func (r region) special() bool {
	return r.name == "[vdso]" || r.name == "[vvar]" || r.name == "[vvar_vclock]"
}

// regions reads what a process has mapped.
func regions(pid int) ([]region, error) {
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, err
	}
	defer maps.Close()
	var all []region
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		r, err := parseRegion(lines.Text())
		if err != nil {
			return nil, err
		}
		if r.name != "[vsyscall]" { // It is the same in all processes.
			all = append(all, r)
		}
	}
	return all, lines.Err()
}

// parseRegion reads one line, as proc_pid_maps(5) has it.
func parseRegion(line string) (r region, err error) {
	bad := fmt.Errorf("a line of the process's maps is of an unknown form: %.200q", line)
	fields := strings.Fields(line)
	if len(fields) < 5 || len(fields[1]) != 4 {
		return r, bad
	}
	from, to, _ := strings.Cut(fields[0], "-")
	var errs [4]error
	r.start, errs[0] = strconv.ParseUint(from, 16, 64)
	r.end, errs[1] = strconv.ParseUint(to, 16, 64)
	r.offset, errs[2] = strconv.ParseUint(fields[2], 16, 64)
	r.inode, errs[3] = strconv.ParseUint(fields[4], 10, 64)
	if errors.Join(errs[:]...) != nil || r.end <= r.start || (r.start|r.end)%pageSize != 0 {
		return r, bad
	}
	for i, bit := range []uint64{unix.PROT_READ, unix.PROT_WRITE, unix.PROT_EXEC} {
		if fields[1][i] != '-' {
			r.prot |= bit
		}
	}
	r.shared = fields[1][3] == 's'
	if at := strings.IndexAny(line, "/["); at >= 0 {
		r.name = line[at:]
	}
	return r, nil
}

// find fills in what each region has of its own.
func find(pid int, all []region) error {
	pagemap, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", pid))
	if err != nil {
		return err
	}
	defer pagemap.Close()
	for i := range all {
		r := &all[i]
		if r.shared || r.special() {
			continue
		}
		if r.own, err = written(pagemap, *r); err != nil {
			return err
		}
	}
	return nil
}

// written lists the pages of a region that are the process's own rather than its file's.
func written(pagemap *os.File, r region) (own []extent, err error) {
	err = EachWritten(pagemap, r.start, r.end, func(page uint64) {
		if last := len(own) - 1; last >= 0 && page-own[last].end <= maxGap*pageSize {
			own[last].end = page + pageSize
		} else {
			own = append(own, extent{start: page, end: page + pageSize})
		}
	})
	if err != nil {
		return nil, fmt.Errorf("cannot tell which pages the process has written: %w", err)
	}
	return own, nil
}

// EachWritten calls do with the address of each page between two addresses that is a process's own rather
// than its file's, in order. The open pagemap is the process's, of a form that the kernel's
// Documentation/admin-guide/mm/pagemap.rst has.
func EachWritten(pagemap *os.File, start, end uint64, do func(page uint64)) error {
	const present, swapped, ofFile = 1 << 63, 1 << 62, 1 << 61
	entries := make([]byte, 8*min((end-start)/pageSize, 16384))
	for at := start; at < end; at += uint64(len(entries)) / 8 * pageSize {
		part := entries[:min(uint64(len(entries)), (end-at)/pageSize*8)]
		if _, err := pagemap.ReadAt(part, int64(at/pageSize*8)); err != nil {
			return err
		}
		for i := 0; i < len(part); i += 8 {
			flags := binary.NativeEndian.Uint64(part[i:])
			if flags&(present|swapped) != 0 && flags&ofFile == 0 {
				do(at + uint64(i)/8*pageSize)
			}
		}
	}
	return nil
}

// keep writes what the regions have of their own to a file from at on, and notes where. It gives the place
// after it.
func keep(pid int, all []region, to *os.File, at int64) (int64, error) {
	// By the file, memory can be read that the process itself may not read at present.
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return 0, err
	}
	defer memory.Close()
	piece := make([]byte, pieceSize)
	for i := range all {
		for j := range all[i].own {
			e := &all[i].own[j]
			e.at = at
			for from := e.start; from < e.end; from += pieceSize {
				part := piece[:min(pieceSize, e.end-from)]
				if _, err := memory.ReadAt(part, int64(from)); err != nil {
					return 0, fmt.Errorf("cannot read the process's memory: %w", err)
				}
				if err := writeSparse(to, part, at+int64(from-e.start)); err != nil {
					return 0, err
				}
			}
			at += int64(e.end - e.start)
		}
	}
	return at, to.Truncate(at)
}

// writeSparse writes pages but those of zeros, which a file that is long enough has anyway.
func writeSparse(to io.WriterAt, data []byte, at int64) error {
	var zeros [pageSize]byte
	for from := 0; from < len(data); {
		end := from
		for end < len(data) && !bytes.Equal(data[end:end+pageSize], zeros[:]) {
			end += pageSize
		}
		if end == from {
			from += pageSize
			continue
		}
		if _, err := to.WriteAt(data[from:end], at+int64(from)); err != nil {
			return err
		}
		from = end
	}
	return nil
}
