package link

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/pyro-mcp/pyro/internal/wire"
)

// Bounds of what a guest remembers of its commands.
const (
	maxRunning = 1024
	maxEnded   = 64               // that are kept for who comes back for the result
	keepEnded  = 10 * time.Minute // and for how long
)

// Commands are those of one guest, on the side that runs them. The zero value has none. Each command outlives
// its caller's connection if it has an id.
type Commands struct {
	mu      sync.Mutex
	byID    map[string]*Command
	ended   []*Command // with an id, oldest first
	running int
	tapes   int // bytes that all tapes have beyond the least
}

// Runner runs a command from its start to its end, and everything that it starts with it. It calls
// [Command.Started] if it has started. The end of ctx means that the command is to be killed.
type Runner func(ctx context.Context, c *Command) (ExecResult, error)

// Exec answers [OpExec]: it has the command run and returns when it has ended, or its caller's connection
// has.
func (t *Commands) Exec(ctx context.Context, e Exec, s *wire.Stream, run Runner) (any, error) {
	c := &Command{
		exec:   e,
		table:  t,
		caller: s,
		done:   make(chan struct{}),
	}
	c.changed.L = &c.mu
	if err := t.add(c); err != nil {
		return nil, err
	}
	own, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	go c.run(own, run)
	return c.serve(ctx, s, e.Stdin)
}

// Handle answers the operations on commands that are known by an id.
func (t *Commands) Handle(ctx context.Context, req Request, s *wire.Stream) (any, error) {
	switch req.Op {
	case OpAttach:
		a, err := Decode[Attach](req)
		if err != nil {
			return nil, err
		}
		return t.attach(ctx, a, s)
	case OpCommands:
		return t.list(), nil
	case OpSignal:
		p, err := Decode[Signal](req)
		if err != nil {
			return nil, err
		}
		return Empty{}, t.signal(p)
	case OpResize:
		p, err := Decode[Resize](req)
		if err != nil {
			return nil, err
		}
		return Empty{}, t.resize(p)
	}
	return nil, Unsupported(req.Op)
}

func (t *Commands) add(c *Command) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := c.exec.ID
	if id != "" && !ValidCommandID(id) {
		return &Error{Code: CodeInvalid, Message: fmt.Sprintf("%q cannot be a command's id", printable(id))}
	}
	if t.byID[id] != nil {
		return &Error{Code: CodeState, Message: fmt.Sprintf("there is a command %q already", id)}
	}
	if t.running >= maxRunning {
		return &Error{Code: CodeLimit, Message: fmt.Sprintf("%d commands run, the limit", t.running)}
	}
	t.running++
	if id != "" {
		if t.byID == nil {
			t.byID = map[string]*Command{}
		}
		t.byID[id] = c
	}
	return nil
}

// end notes that a command has ended. Its result is kept for a while if it has an id.
func (t *Commands) end(c *Command) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running--
	if c.exec.ID == "" {
		return
	}
	c.endedAt = time.Now()
	t.ended = append(t.ended, c)
	t.sweep()
}

// sweep forgets the ended commands that are too old or too many. The caller holds mu.
func (t *Commands) sweep() {
	for len(t.ended) > 0 && (len(t.ended) > maxEnded || time.Since(t.ended[0].endedAt) > keepEnded) {
		t.forgetOldest()
	}
}

func (t *Commands) forgetOldest() {
	c := t.ended[0]
	t.ended = slices.Delete(t.ended, 0, 1)
	t.tapes -= c.taped
	delete(t.byID, c.exec.ID)
}

// lend gives a command n bytes more for its tapes if there is room, which the oldest of the ended make.
func (t *Commands) lend(c *Command, n int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.tapes+n > tapeTotal && len(t.ended) > 0 {
		t.forgetOldest()
	}
	if t.tapes+n > tapeTotal {
		return false
	}
	t.tapes, c.taped = t.tapes+n, c.taped+n
	return true
}

func (t *Commands) find(id string) (*Command, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep()
	if c := t.byID[id]; c != nil && id != "" {
		return c, nil
	}
	return nil, &Error{Code: CodeNotFound, Message: fmt.Sprintf("there is no command %q", printable(id))}
}

func (t *Commands) attach(ctx context.Context, a Attach, s *wire.Stream) (any, error) {
	c, err := t.find(a.ID)
	if err != nil {
		return nil, err
	}
	if err := c.attach(a, s); err != nil {
		return nil, err
	}
	return c.serve(ctx, s, a.Stdin)
}

// mostSecrets bounds the secrets in one list, in bytes.
const mostSecrets = 256 << 10

func (t *Commands) list() CommandList {
	t.mu.Lock()
	t.sweep()
	var all []*Command
	for _, c := range t.byID {
		if c.endedAt.IsZero() {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b *Command) int { return cmp.Compare(a.exec.ID, b.exec.ID) })
	all = append(all, t.ended...)
	t.mu.Unlock()
	list := CommandList{Commands: make([]CommandInfo, len(all))}
	room := mostSecrets
	for i, c := range all {
		list.Commands[i] = c.info()
		for _, each := range c.exec.Secrets {
			if room -= len(each); room >= 0 {
				list.Commands[i].Secrets = append(list.Commands[i].Secrets, each)
			}
		}
	}
	return list
}

func (t *Commands) signal(p Signal) error {
	if p.Number < 1 || p.Number > 64 {
		return &Error{Code: CodeInvalid, Message: fmt.Sprintf("there is no signal %d", p.Number)}
	}
	process, err := t.process(p.ID)
	if err != nil {
		return err
	}
	return process.Signal(syscall.Signal(p.Number))
}

func (t *Commands) resize(p Resize) error {
	process, err := t.process(p.ID)
	if err != nil {
		return err
	}
	if process.Resize == nil {
		return &Error{Code: CodeState, Message: fmt.Sprintf("the command %q has no terminal", p.ID)}
	}
	return process.Resize(p.Size)
}

// process gives what runs under an id.
func (t *Commands) process(id string) (Process, error) {
	c, err := t.find(id)
	if err != nil {
		return Process{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.started && !c.over {
		c.changed.Wait()
	}
	if c.over {
		return Process{}, &Error{Code: CodeState, Message: fmt.Sprintf("the command %q has ended", id)}
	}
	return c.process, nil
}
