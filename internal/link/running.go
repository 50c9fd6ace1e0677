package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/pyro-mcp/pyro/internal/wire"
)

// Process is a started command in the hands of who runs it.
type Process struct {
	Input    io.WriteCloser // nil if it takes none
	Signal   func(syscall.Signal) error
	Resize   func(Size) error // nil if it has no terminal
	EndInput func() error     // nil is to close Input

	// Reads returns when the command waits for its input, or over is closed; nil is at once.
	Reads func(over <-chan struct{})
}

// Command is one command while it runs, and after that while its result is kept.
//
// What it writes is put on a tape, if it has an id, and sent to its caller, whom it waits for. Without a
// caller it does not wait, and the tape drops what is oldest.
type Command struct {
	exec   Exec
	table  *Commands
	cancel context.CancelFunc
	done   chan struct{} // closed when it has ended and all its output was sent
	result ExecResult    // valid once done is closed
	err    error

	endedAt time.Time // guarded by the table's lock, as is taped
	taped   int       // bytes that the tapes were lent

	inputMu sync.Mutex // held by who writes input, so that it stays in order

	mu       sync.Mutex
	changed  sync.Cond
	caller   *wire.Stream // nil if it is detached
	catching bool         // a new caller is sent what the tapes have: writers wait
	stdout   tape
	stderr   tape
	process  Process
	started  bool
	over     bool
	taken    int64 // bytes of input
}

// Exec is what was asked for.
func (c *Command) Exec() Exec { return c.exec }

// Started is told once by who runs the command, when it has.
func (c *Command) Started(p Process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.process, c.started = p, true
	c.changed.Broadcast()
}

func (c *Command) run(ctx context.Context, run Runner) {
	began := time.Now()
	c.result, c.err = run(ctx, c)
	c.result.DurationMS = time.Since(began).Milliseconds()
	c.cancel()
	c.mu.Lock()
	c.over = true
	c.changed.Broadcast()
	c.mu.Unlock()
	c.table.end(c)
	close(c.done)
}

// serve serves a caller until the command has ended, or the caller has gone.
func (c *Command) serve(ctx context.Context, s *wire.Stream, input bool) (any, error) {
	var feeding sync.WaitGroup
	if input {
		feeding.Go(func() { c.feed(s) })
	}
	if c.exec.LazyStdin && input {
		go c.tellReads(s)
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		c.leave(s)
		if c.survives(s) {
			return nil, ctx.Err() // Who feeds may be stuck with a command that does not read, and goes on.
		}
		c.cancel()
		<-c.done
	}
	c.leave(s)
	s.CloseRecv()
	feeding.Wait()
	return c.result, c.err
}

// tellReads tells a caller when the command reads its input.
func (c *Command) tellReads(s *wire.Stream) {
	c.mu.Lock()
	process := c.await()
	c.mu.Unlock()
	if process.Reads != nil {
		process.Reads(c.done)
	}
	if note, err := json.Marshal(Wanted{Stdin: true}); err == nil {
		_ = s.Send(KindNote, note) // A caller that has gone needs no input.
	}
}

// survives tells whether the command goes on without a caller that has gone: if it was its connection that
// ended.
func (c *Command) survives(s *wire.Stream) bool {
	err := s.Err()
	return c.exec.ID != "" && err != nil && !errors.Is(err, wire.ErrReset)
}

// leave makes the command one without a caller, if this is still the one.
func (c *Command) leave(s *wire.Stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.caller == s {
		c.caller = nil
	}
}

// Output takes what the command writes to one of its output streams. A Write never fails: a command does not
// end because nobody listens.
func (c *Command) Output(kind uint8) io.Writer { return output{c, kind} }

type output struct {
	c    *Command
	kind uint8
}

func (o output) Write(p []byte) (int, error) {
	c := o.c
	c.mu.Lock()
	for c.catching {
		c.changed.Wait()
	}
	if c.exec.ID != "" {
		c.tape(o.kind).write(p, func(n int) bool { return c.table.lend(c, n) })
	}
	to := c.caller
	c.mu.Unlock()
	if to != nil && to.Send(o.kind, p) != nil {
		c.leave(to)
	}
	return len(p), nil
}

func (c *Command) tape(kind uint8) *tape {
	if kind == KindStderr {
		return &c.stderr
	}
	return &c.stdout
}

// attach makes a stream the caller's, once it was sent what it has missed and the tapes still have. The
// command's output waits meanwhile.
func (c *Command) attach(a Attach, s *wire.Stream) error {
	c.mu.Lock()
	if c.catching || c.caller != nil && c.caller.Err() == nil {
		c.mu.Unlock()
		return &Error{Code: CodeState, Message: fmt.Sprintf("the command %q has a caller", a.ID)}
	}
	c.caller, c.catching = s, true
	at := Attached{Stdout: c.stdout.from(a.Stdout), Stderr: c.stderr.from(a.Stderr), Stdin: c.taken}
	c.mu.Unlock()
	err := c.catchUp(at, s)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.catching = false
	c.changed.Broadcast()
	if err != nil && c.caller == s {
		c.caller = nil
	}
	return err
}

// catchUp sends what the tapes have. Nobody writes on them meanwhile.
func (c *Command) catchUp(at Attached, s *wire.Stream) error {
	note, err := json.Marshal(at)
	if err == nil {
		err = s.Send(KindNote, note)
	}
	for kind, from := range map[uint8]int64{KindStdout: at.Stdout, KindStderr: at.Stderr} {
		for err == nil {
			piece := c.tape(kind).read(from)
			if len(piece) == 0 {
				break
			}
			err = s.Send(kind, piece)
			from += int64(len(piece))
		}
	}
	return err
}

// feed passes a caller's input on to its end. A command that does not read it any more is no failure. Input
// that breaks off must not look like its end.
func (c *Command) feed(s *wire.Stream) {
	for {
		m, err := s.Recv()
		if err == io.EOF {
			c.endInput()
		}
		if err != nil {
			return
		}
		if m.Kind == KindResize {
			if size, ok := ParseSize(m.Data); ok {
				c.resize(size)
			}
		}
		if m.Kind != KindStdin {
			continue
		}
		if c.input(m.Data) != nil {
			s.CloseRecv()
			return
		}
	}
}

func (c *Command) input(p []byte) error {
	c.inputMu.Lock()
	defer c.inputMu.Unlock()
	c.mu.Lock()
	c.taken += int64(len(p))
	process := c.await()
	c.mu.Unlock()
	if process.Input == nil {
		return io.ErrClosedPipe
	}
	_, err := process.Input.Write(p)
	return err
}

// resize tells the command's terminal, if it has one.
func (c *Command) resize(size Size) {
	c.mu.Lock()
	process := c.await()
	c.mu.Unlock()
	if process.Resize != nil {
		_ = process.Resize(size) // A terminal of the wrong size is better than none.
	}
}

func (c *Command) endInput() {
	c.inputMu.Lock()
	defer c.inputMu.Unlock()
	c.mu.Lock()
	process := c.await()
	c.mu.Unlock()
	switch {
	case process.EndInput != nil:
		_ = process.EndInput() // A command that has ended needs none.
	case process.Input != nil:
		process.Input.Close()
	}
}

// await gives the process once there is one, and none if there never will be. The caller holds mu.
func (c *Command) await() Process {
	for !c.started && !c.over {
		c.changed.Wait()
	}
	if c.over {
		return Process{}
	}
	return c.process
}

func (c *Command) info() CommandInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	info := CommandInfo{
		ID:       c.exec.ID,
		Attached: c.caller != nil,
		Stdout:   c.stdout.end,
		Stderr:   c.stderr.end,
		Lost:     c.stdout.begin + c.stderr.begin,
	}
	select {
	case <-c.done:
		info.Result = &c.result
	default:
	}
	return info
}
