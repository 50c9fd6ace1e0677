package link

// How much of a command's output is kept in memory. A tape as large as a stream's window means that a caller
// who comes back over a new connection has lost nothing of what was on its way.
const (
	tapeLimit = 256 << 10 // of one output stream
	tapeLeast = 4 << 10   // that a tape may always have
	tapeTotal = 16 << 20  // of all tapes of a guest, beyond the least
)

// tape keeps the end of an output stream. A byte keeps its offset for good.
type tape struct {
	buf        []byte // the byte at offset o stands at o modulo the length, which is a power of two
	begin, end int64  // what is kept
}

// write appends, and drops the oldest bytes if there is no room for all. more asks for leave to take that
// many bytes of memory.
func (t *tape) write(p []byte, more func(int) bool) {
	t.grow(int(t.end-t.begin)+len(p), more)
	if over := len(p) - len(t.buf); over > 0 {
		t.end += int64(over)
		p = p[over:]
	}
	for len(p) > 0 {
		n := copy(t.buf[int(t.end)&(len(t.buf)-1):], p)
		t.end, p = t.end+int64(n), p[n:]
	}
	t.begin = max(t.begin, t.end-int64(len(t.buf)))
}

func (t *tape) grow(need int, more func(int) bool) {
	size := max(len(t.buf), tapeLeast)
	for size < need && size < tapeLimit {
		size *= 2
	}
	if size == len(t.buf) {
		return
	}
	if len(t.buf) == 0 && !more(size-tapeLeast) {
		size = tapeLeast
	} else if len(t.buf) > 0 && !more(size-len(t.buf)) {
		return
	}
	old := *t
	t.buf = make([]byte, size)
	for at := old.begin; at < old.end; {
		piece := old.read(at)
		t.end = at
		at += int64(len(piece))
		for len(piece) > 0 {
			n := copy(t.buf[int(t.end)&(size-1):], piece)
			t.end, piece = t.end+int64(n), piece[n:]
		}
	}
	t.end = old.end
}

// read gives what is kept from an offset on, up to the ring's seam, valid until the next write. An offset
// that is not kept gives nothing.
func (t *tape) read(at int64) []byte {
	if at < t.begin || at >= t.end {
		return nil
	}
	from := int(at) & (len(t.buf) - 1)
	return t.buf[from:min(len(t.buf), from+int(t.end-at))]
}

// from is the first offset that is kept, of those from at on.
func (t *tape) from(at int64) int64 { return min(max(at, t.begin), t.end) }
