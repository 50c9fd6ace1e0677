package supervisor

import (
	"context"
	"errors"
	"io"
	"sync"
)

// input carries what is written to a background command to who passes it on. Nothing is kept in it: what a
// command does not take stays with who writes it, who may give up at any time.
type input struct {
	turn   chan struct{} // holds one token while somebody writes
	pieces chan []byte   // closed at the end of input
	taken  chan int      // how many bytes of the piece
	over   chan struct{} // closed when nobody reads any more

	close sync.Once
	ended bool // guarded by turn
}

var errNoMoreInput = errors.New("it takes no more input")

func newInput() *input {
	return &input{
		turn:   make(chan struct{}, 1),
		pieces: make(chan []byte),
		taken:  make(chan int),
		over:   make(chan struct{}),
	}
}

// Read gives what is written next, and io.EOF after the end.
func (in *input) Read(p []byte) (int, error) {
	select {
	case piece, more := <-in.pieces:
		if !more {
			return 0, io.EOF
		}
		n := copy(p, piece)
		in.taken <- n
		return n, nil
	case <-in.over:
		return 0, io.ErrClosedPipe
	}
}

// Close says that nobody reads any more.
func (in *input) Close() error {
	in.close.Do(func() { close(in.over) })
	return nil
}

// write passes p on, and ends the input after it if asked to. It returns how many bytes were taken before the
// context ended.
func (in *input) write(ctx context.Context, p []byte, end bool) (n int, err error) {
	select {
	case in.turn <- struct{}{}:
		defer func() { <-in.turn }()
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	if in.ended {
		return 0, errNoMoreInput
	}
	for n < len(p) {
		select {
		case in.pieces <- p[n:]:
			n += <-in.taken
		case <-in.over:
			return n, errNoMoreInput
		case <-ctx.Done():
			return n, context.Cause(ctx)
		}
	}
	if end {
		in.ended = true
		close(in.pieces)
	}
	return n, nil
}
