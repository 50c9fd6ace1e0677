package network

import (
	"bufio"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// maxHostsFile bounds how much of a hosts file is read.
const maxHostsFile = 8 << 20

// hostsFile knows the names in a table of this host's own, which resolvers answer from, too. It is read anew
// when it has changed.
type hostsFile struct {
	path string

	mu    sync.Mutex
	size  int64
	time  time.Time
	names map[string]bool
}

// has tells whether the table has a name. A table that cannot be read has none.
func (h *hostsFile) has(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	info, err := os.Stat(h.path)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	if h.names == nil || info.Size() != h.size || !info.ModTime().Equal(h.time) {
		file, err := os.Open(h.path)
		if err != nil {
			return false
		}
		defer file.Close()
		h.names, h.size, h.time = hostNames(io.LimitReader(file, maxHostsFile)), info.Size(), info.ModTime()
	}
	return h.names[name]
}

func hostNames(r io.Reader) map[string]bool {
	names := map[string]bool{}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		text, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(text)
		for _, word := range words[min(1, len(words)):] {
			if name, ok := canonicalName(word); ok {
				names[name] = true
			}
		}
	}
	return names
}
