package link

import (
	"encoding/json"
	"io"
	"sync"
)

// lazyReader reads once it is wanted. If that never comes to be, it ends.
type lazyReader struct {
	r      io.Reader
	wanted <-chan struct{}
	over   <-chan struct{}
}

func (l *lazyReader) Read(p []byte) (int, error) {
	select {
	case <-l.wanted:
		return l.r.Read(p)
	case <-l.over:
		return 0, io.EOF
	}
}

// wants takes the note that a command reads its input.
type wants struct {
	wanted chan struct{}
	once   sync.Once
}

func (w *wants) Write(p []byte) (int, error) {
	var note Wanted
	if json.Unmarshal(p, &note) == nil && note.Stdin {
		w.once.Do(func() { close(w.wanted) })
	}
	return len(p), nil
}

func outputs(stdout, stderr io.Writer) map[uint8]io.Writer {
	m := map[uint8]io.Writer{}
	if stdout != nil {
		m[KindStdout] = stdout
	}
	if stderr != nil {
		m[KindStderr] = stderr
	}
	return m
}
