package record

import (
	"fmt"
	"unicode/utf8"
)

// Capture keeps the beginning and the end of a stream within OutputLimit bytes. The zero value is ready. It
// is not safe for concurrent use.
type Capture struct {
	head, tail []byte
	total      int64
}

const half = OutputLimit / 2

// Write never fails.
func (c *Capture) Write(p []byte) (int, error) {
	n := len(p)
	c.total += int64(n)
	if room := half - len(c.head); room > 0 {
		part := min(room, len(p))
		c.head = append(c.head, p[:part]...)
		p = p[part:]
	}
	if len(p) > half {
		p = p[len(p)-half:]
	}
	// The tail slides in steps of its own size, so that a long stream is copied once, not once a write.
	if len(c.tail)+len(p) > 2*half {
		c.tail = append(c.tail[:0], c.tail[len(c.tail)-half:]...)
	}
	c.tail = append(c.tail, p...)
	return n, nil
}

// Truncated tells whether something was left out.
func (c *Capture) Truncated() bool { return c.total > OutputLimit }

// String gives what was kept, with a mark if something is left out.
func (c *Capture) String() string {
	tail := c.tail[max(0, len(c.tail)-half):]
	left := c.total - int64(len(c.head)+len(tail))
	if left == 0 {
		return string(c.head) + string(tail)
	}
	return fmt.Sprintf("%s\n[pyro: %d bytes left out here]\n%s", c.head, left, tail)
}

// Unprintable gives the bytes of a stream that is not UTF-8, which JSON's texts cannot hold; nil if it is.
func Unprintable(stream string) []byte {
	if utf8.ValidString(stream) {
		return nil
	}
	return []byte(stream)
}
