package instances

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/phase"
	"github.com/pyro-mcp/pyro/internal/record"
)

// Wait says how long to wait for a place while as many VMs live as may, and whom to tell that one waits. The
// zero value does not wait.
type Wait struct {
	For  time.Duration
	Tell func(limit int)
}

// Pauses between two looks whether a place has come free.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = 100 * time.Millisecond
)

// Place is room for one more VM: its directory, locked. It is used by Fill or given back by Leave.
type Place struct {
	id   string
	lock *os.File
}

// ID is that of the VM to be.
func (p Place) ID() string { return p.id }

// Take waits for a place within the limit. Who comes later stands behind those who wait, those of other
// processes included.
func (i *Instances) Take(ctx context.Context, kind record.Kind, wait Wait) (Place, error) {
	if _, err := i.Sweep(); err != nil {
		// It is done in passing.
		i.options.Log.Warn("cannot remove what is orphaned", "error", err)
	}
	counted := i.counts
	if kind == record.KindBuild || kind == record.KindPool {
		counted = nil
	}
	var p Place
	took := phase.Start(i.options.Log)
	err := i.queue(ctx, wait, counted != nil, func() (err error) {
		p.id, p.lock, err = i.root.Create(kind, i.options.MaxActive, counted)
		return err
	})
	if err == nil {
		took.Done("place taken", "vm", p.id)
	}
	return p, err
}

// Leave gives a place back that no VM was made in.
func (i *Instances) Leave(p Place) error {
	p.lock.Close()
	return i.Discard(p.id)
}

// queue has take called until it meets no limit or the wait is over. What is not limited does not queue.
func (i *Instances) queue(ctx context.Context, wait Wait, limited bool, take func() error) error {
	if !limited || wait.For <= 0 || (len(i.turn) == 0 && !i.root.Queued()) {
		if err := take(); err == nil || !isLimit(err) || wait.For <= 0 {
			return limitReached(err)
		}
	}
	if wait.Tell != nil {
		wait.Tell(i.options.MaxActive)
	}
	begun := time.Now()
	over := time.NewTimer(wait.For)
	defer over.Stop()
	late := func() error { return limitReachedAfter(i.options.MaxActive, time.Since(begun)) }
	// One of this process asks at a time, in the order in which they came.
	select {
	case i.turn <- struct{}{}:
		defer func() { <-i.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-over.C:
		return late()
	}
	var turn *os.File
	defer func() { turn.Close() }() // A nil file can be closed.
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		var err error
		if turn == nil {
			if turn, err = i.root.Turn(); err != nil && !errors.Is(err, record.ErrLocked) {
				return err
			}
		}
		if turn != nil {
			if err = take(); !isLimit(err) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-over.C:
			return late()
		case <-time.After(pause):
		}
	}
}

func isLimit(err error) bool {
	var limit *record.LimitError
	return errors.As(err, &limit)
}

// limitReached words the limit on living VMs.
func limitReached(err error) error {
	var limit *record.LimitError
	if !errors.As(err, &limit) {
		return err
	}
	return limitReachedAfter(limit.Limit, 0)
}

func limitReachedAfter(limit int, waited time.Duration) error {
	text := fmt.Sprintf("cannot create another VM: %d VMs and tasks are alive, as many as "+
		"max_active_vms allows", limit)
	if waited >= time.Second {
		text += fmt.Sprintf(", and no place came free in %d s", int(waited.Seconds()))
	}
	return &link.Error{Code: link.CodeLimit, Cause: CauseMaxActive, Message: text}
}
