package guest

import (
	"bytes"
	"os"
	"strings"
	"sync"
)

// consoleLimit bounds what is kept of a guest's console, in bytes: the beginning in the file, and as much
// again.
const consoleLimit = 256 << 10

// console reads what the guest's kernel says. All of it is the guest's word: it is bounded, and only shown.
type console struct {
	reader *os.File
	done   chan struct{}

	mu   sync.Mutex
	last string // the line that tells of the end
}

// openConsole gives a console, and the end of it that the VMM writes to.
func openConsole(path string) (*console, *os.File, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		reader.Close()
		writer.Close()
		return nil, nil, err
	}
	c := &console{reader: reader, done: make(chan struct{})}
	go c.read(file)
	return c, writer, nil
}

func (c *console) read(file *os.File) {
	defer close(c.done)
	defer file.Close()
	buf := make([]byte, 4096)
	var line []byte
	kept := 0
	for {
		n, err := c.reader.Read(buf)
		if n > 0 && kept < consoleLimit {
			kept += n
			file.Write(buf[:n]) // A console that cannot be kept is no reason to end a guest.
		}
		for _, part := range bytes.SplitAfter(buf[:n], []byte{'\n'}) {
			if len(line)+len(part) <= 1024 {
				line = append(line, part...)
			}
			if bytes.HasSuffix(part, []byte{'\n'}) {
				c.note(string(line))
				line = line[:0]
			}
		}
		if err != nil {
			c.note(string(line))
			return
		}
	}
}

// note remembers the first line that tells why a guest ended.
func (c *console) note(line string) {
	for _, mark := range []string{"Kernel panic", "pyro-agent: fatal:",
		"Out of memory and no killable processes"} {
		if at := strings.Index(line, mark); at >= 0 {
			c.mu.Lock()
			if c.last == "" {
				c.last = printable(line[at:])
			}
			c.mu.Unlock()
			return
		}
	}
}

func (c *console) panicLine() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// Close ends the reading. The VMM must have ended.
func (c *console) Close() error {
	err := c.reader.Close()
	<-c.done
	return err
}

// printable drops what a terminal would act on.
func printable(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return -1
		}
		return r
	}, s))
}
