package link

import (
	"fmt"
	"io"

	"github.com/pyro-mcp/pyro/internal/wire"
)

// Reader reads the data of one kind from a stream up to its end.
func Reader(s *wire.Stream, kind uint8) io.Reader { return &reader{s: s, kind: kind} }

type reader struct {
	s    *wire.Stream
	kind uint8
	rest []byte
}

func (r *reader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		m, err := r.s.Recv()
		if err != nil {
			return 0, err
		}
		if m.Kind != r.kind {
			return 0, fmt.Errorf("a message of kind %d stands among data", m.Kind)
		}
		r.rest = m.Data
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// Writer sends what is written to it as messages of one kind.
func Writer(s *wire.Stream, kind uint8) io.Writer { return writer{s, kind} }

type writer struct {
	s    *wire.Stream
	kind uint8
}

func (w writer) Write(p []byte) (int, error) {
	if err := w.s.Send(w.kind, p); err != nil {
		return 0, err
	}
	return len(p), nil
}
