package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
)

// modes passes a screen's output on, and notes which of the terminal's modes the program has changed, so that
// they can be undone if it ends without doing so itself.
type modes struct {
	to io.Writer

	mu      sync.Mutex
	changed map[string]bool // modes that are not as a shell wants them
	pending []byte          // the beginning of a sequence
}

// undoing says how a mode that was changed is made what it was. The set and reset sequences are ESC [ ? N h
// and l.
var undoing = map[string]string{
	"1": "l", "25": "h", "47": "l", "1047": "l", "1049": "l", "1000": "l", "1002": "l", "1003": "l",
	"1004": "l", "1005": "l", "1006": "l", "1015": "l", "2004": "l", "2026": "l",
}

func (m *modes) Write(p []byte) (int, error) {
	m.mu.Lock()
	for _, b := range p {
		m.note(b)
	}
	m.mu.Unlock()
	return m.to.Write(p)
}

func (m *modes) note(b byte) {
	const longest = 32
	switch {
	case b == 0x1b:
		m.pending = append(m.pending[:0], b)
	case len(m.pending) == 0:
	case len(m.pending) == 1 && b == '[', len(m.pending) == 2 && b == '?':
		m.pending = append(m.pending, b)
	case len(m.pending) >= 3 && len(m.pending) < longest && (b >= '0' && b <= '9' || b == ';'):
		m.pending = append(m.pending, b)
	default:
		if len(m.pending) > 3 && (b == 'h' || b == 'l') {
			m.set(string(m.pending[3:]), string(b))
		}
		m.pending = m.pending[:0]
	}
}

func (m *modes) set(numbers, to string) {
	for _, n := range strings.Split(numbers, ";") {
		if back, ok := undoing[n]; ok {
			if m.changed == nil {
				m.changed = map[string]bool{}
			}
			m.changed[n] = back != to
		}
	}
}

// undo makes the modes what they were.
func (m *modes) undo() { m.write(func(n string) string { return undoing[n] }, "\x1b[0m") }

// redo makes the modes again what undo has made undone.
func (m *modes) redo() {
	m.write(func(n string) string {
		if undoing[n] == "h" {
			return "l"
		}
		return "h"
	}, "")
}

// write sets each mode that was changed, and writes what comes after if there was any.
func (m *modes) write(to func(mode string) string, after string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.to == nil {
		return
	}
	var text strings.Builder
	for _, n := range slices.Sorted(maps.Keys(m.changed)) {
		if m.changed[n] {
			fmt.Fprintf(&text, "\x1b[?%s%s", n, to(n))
		}
	}
	if text.Len() > 0 {
		io.WriteString(m.to, text.String()+after)
	}
}
