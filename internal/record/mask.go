package record

import (
	"bytes"
	"io"
	"slices"
	"strings"
)

// masked stands in what is kept in place of a secret.
const masked = "***"

// shortestSecret is how long a secret must be to be masked, in bytes: a shorter one would make holes in any
// text.
const shortestSecret = 4

// Mask hides secrets in what is kept. Nil hides nothing.
type Mask struct{ values [][]byte }

// NewMask makes a mask of secrets, and of each line of those that have several.
func NewMask(secrets []string) *Mask {
	m := &Mask{}
	add := func(value string) {
		if len(value) >= shortestSecret {
			m.values = append(m.values, []byte(value))
		}
	}
	for _, secret := range secrets {
		add(secret)
		if trimmed := strings.TrimSpace(secret); strings.Contains(trimmed, "\n") {
			for line := range strings.Lines(trimmed) {
				add(strings.TrimSpace(line))
			}
		}
	}
	if len(m.values) == 0 {
		return nil
	}
	// A longer one may hold a shorter one.
	slices.SortFunc(m.values, func(a, b []byte) int { return len(b) - len(a) })
	return m
}

// Writer passes on what is written to it, without the secrets. Flush it at the end.
func (m *Mask) Writer(w io.Writer) *MaskWriter { return &MaskWriter{mask: m, to: w} }

// Text gives a text without the secrets.
func (m *Mask) Text(text string) string {
	if m == nil {
		return text
	}
	var out strings.Builder
	w := m.Writer(&out)
	_, _ = w.Write([]byte(text)) // A builder never fails.
	_ = w.Flush()
	return out.String()
}

// MaskWriter holds back what may be the beginning of a secret.
type MaskWriter struct {
	mask    *Mask
	to      io.Writer
	pending []byte
}

// Write passes on what cannot be a part of a secret.
func (w *MaskWriter) Write(p []byte) (int, error) {
	if w.mask == nil {
		return w.to.Write(p)
	}
	w.pending = append(w.pending, p...)
	if err := w.pass(false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush passes on what was held back.
func (w *MaskWriter) Flush() error { return w.pass(true) }

// pass passes on what is known to be no secret, or a whole one; at the end that is all.
func (w *MaskWriter) pass(end bool) error {
	var out []byte
	for len(w.pending) > 0 {
		keep := 0
		if !end {
			keep = w.mask.beginning(w.pending)
		}
		open := len(w.pending) - keep // From here on a longer secret may yet come to be.
		at, length := w.mask.first(w.pending)
		if length == 0 || keep > 0 && open <= at {
			out = append(out, w.pending[:open]...)
			w.pending = bytes.Clone(w.pending[open:])
			break
		}
		out = append(append(out, w.pending[:at]...), masked...)
		w.pending = w.pending[at+length:]
	}
	if len(out) == 0 {
		return nil
	}
	_, err := w.to.Write(out)
	return err
}

// first finds the first secret: the longest of those that begin there.
func (m *Mask) first(data []byte) (at, length int) {
	at = -1
	for _, value := range m.values {
		if i := bytes.Index(data, value); i >= 0 && (at < 0 || i < at) {
			at, length = i, len(value)
		}
	}
	return at, length
}

// beginning is how many of the last bytes may be the beginning of a secret.
func (m *Mask) beginning(data []byte) int {
	longest := 0
	for _, value := range m.values {
		for n := min(len(value)-1, len(data)); n > longest; n-- {
			if bytes.HasSuffix(data, value[:n]) {
				longest = n
			}
		}
	}
	return longest
}
