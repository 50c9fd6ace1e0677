package checkpoint

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// kind is what a descriptor is of.
type kind int

const (
	standard kind = iota // input, output or error
	passed               // of one of [Process].Files
	eventfd
	signalfd
	epoll
)

// descriptor is an open file of the process.
type descriptor struct {
	number int
	kind   kind
	flags  int     // of open
	file   int     // which of the files, if it was passed
	value  uint64  // an eventfd's count, or a signalfd's signals
	watch  []watch // an epoll's
}

// watch is what an epoll waits for.
type watch struct {
	fd     int
	events uint32
	data   uint64
}

// descriptors lists what a process has open, by number.
func descriptors(p Process) ([]descriptor, error) {
	dir := fmt.Sprintf("/proc/%d/fd", p.PID)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []descriptor
	for _, e := range entries {
		number, err := strconv.Atoi(e.Name())
		if err != nil {
			return nil, err
		}
		d, err := describe(p, number)
		if err != nil {
			return nil, err
		}
		if number >= spare {
			return nil, unsupported("it has descriptor %d open", number)
		}
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b descriptor) int { return cmp.Compare(a.number, b.number) })
	return all, nil
}

// describe finds out what one descriptor is of.
func describe(p Process, number int) (descriptor, error) {
	d := descriptor{number: number}
	path := fmt.Sprintf("/proc/%d/fd/%d", p.PID, number)
	target, err := os.Readlink(path)
	if err != nil {
		return d, err
	}
	info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", p.PID, number))
	if err != nil {
		return d, err
	}
	if err := d.parse(target, string(info)); err != nil {
		return d, err
	}
	if d.kind == eventfd || d.kind == signalfd || d.kind == epoll || number < firstPassed {
		return d, nil
	}
	open, err := os.Stat(path)
	if err != nil {
		return d, err
	}
	d.kind, d.file = passed, slices.Index(p.Files, FileOf(open))
	if d.file < 0 {
		return d, unsupported("it has opened %q by itself", target)
	}
	return d, nil
}

// parse reads what the kernel says of a descriptor, as proc_pid_fdinfo(5) has it.
func (d *descriptor) parse(target, info string) (err error) {
	switch target {
	case "anon_inode:[eventfd]":
		d.kind = eventfd
	case "anon_inode:[signalfd]":
		d.kind = signalfd
	case "anon_inode:[eventpoll]":
		d.kind = epoll
	default:
		if strings.HasPrefix(target, "anon_inode:") {
			return unsupported("it has a descriptor of kind %q", target)
		}
	}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		var number uint64
		switch name {
		case "flags":
			number, err = strconv.ParseUint(value, 8, 32)
			d.flags = int(number)
		case "eventfd-count", "sigmask":
			d.value, err = strconv.ParseUint(value, 16, 64)
		case "eventfd-semaphore":
			if value != "0" {
				return unsupported("it has a semaphore")
			}
		case "tfd":
			var w watch
			// As the kernel's fs/eventpoll.c writes it.
			_, err = fmt.Sscanf(line, "tfd: %d events: %x data: %x", &w.fd, &w.events, &w.data)
			d.watch = append(d.watch, w)
		}
		if err != nil {
			return fmt.Errorf("what the kernel says of a descriptor is of an unknown form: %.200q", line)
		}
	}
	return nil
}

// closesOnExec is the flag for the calls that make a descriptor.
func (d descriptor) closesOnExec() uint64 { return uint64(d.flags) & unix.O_CLOEXEC }

// status is the flags of an open file that can be set later.
func (d descriptor) status() uint64 { return uint64(d.flags) & (unix.O_NONBLOCK | unix.O_APPEND) }
