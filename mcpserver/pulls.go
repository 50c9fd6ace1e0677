package mcpserver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pyro-mcp/pyro"
)

// pullPatience is how long a call waits for an environment to be installed before it tells its client to call
// again. Clients give up on a call after a minute, often, and take no progress for a reason to wait.
const pullPatience = 45 * time.Second

// pulls are the server's own: one goes on if the call that began it is cancelled, and later calls join it.
type pulls struct {
	pull func(context.Context, pyro.PullEnvironmentRequest) (pyro.PullEnvironmentResult, error)
	has  func(context.Context, pyro.EnvironmentRequest) (pyro.EnvironmentManifest, error)
	wait time.Duration

	mu      sync.Mutex
	running map[string]*pulling
	going   sync.WaitGroup
}

// pulling is one pull that goes on.
type pulling struct {
	done   chan struct{}
	cancel context.CancelFunc
	err    error // after done

	mu    sync.Mutex
	last  pyro.PullProgress
	known bool
}

// installing says that a pull goes on, and how far it is.
type installing struct{ environment, progress string }

func (i *installing) Error() string {
	return fmt.Sprintf(
		"the environment %q is being installed%s. Call again in half a minute: it goes on meanwhile",
		i.environment,
		i.progress,
	)
}

// ensure returns once an environment is installed. A pull that takes longer than a call may goes on without
// it.
func (p *pulls) ensure(ctx context.Context, environment string, progress *reporter) error {
	if environment == "" {
		return nil
	}
	_, err := p.has(ctx, pyro.EnvironmentRequest{Environment: environment})
	var known *pyro.Error
	if !errors.As(err, &known) || known.Cause != "not_installed" {
		return nil // it is there, or the operation says what is wrong with it
	}
	one := p.join(environment)
	late := time.NewTimer(p.wait)
	defer late.Stop()
	tell := time.NewTicker(progressPace)
	defer tell.Stop()
	for {
		select {
		case <-one.done:
			return one.err
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			return &installing{environment: environment, progress: one.percent()}
		case <-tell.C:
			one.report(progress)
		}
	}
}

// join gives the pull of an environment, which it begins if there is none.
func (p *pulls) join(environment string) *pulling {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one := p.running[environment]; one != nil {
		return one
	}
	ctx, cancel := context.WithCancel(context.Background())
	one := &pulling{done: make(chan struct{}), cancel: cancel}
	if p.running == nil {
		p.running = map[string]*pulling{}
	}
	p.running[environment] = one
	p.going.Go(func() {
		defer cancel()
		_, one.err = p.pull(ctx, pyro.PullEnvironmentRequest{Environment: environment, Progress: one.note})
		p.mu.Lock()
		delete(p.running, environment)
		p.mu.Unlock()
		close(one.done)
	})
	return one
}

// end cancels what goes on and waits for it.
func (p *pulls) end() {
	p.mu.Lock()
	for _, one := range p.running {
		one.cancel()
	}
	p.mu.Unlock()
	p.going.Wait()
}

func (p *pulling) note(m pyro.PullProgress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last, p.known = m, true
}

func (p *pulling) report(to *reporter) {
	p.mu.Lock()
	last, known := p.last, p.known
	p.mu.Unlock()
	if known && to != nil {
		to.pull(last)
	}
}

// percent words how far a pull is, of the phase that it is in.
func (p *pulling) percent() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch m := p.last; {
	case m.BytesTotal > 0:
		return fmt.Sprintf(" (%s, %d %%)", m.Phase, min(100, 100*m.BytesDone/m.BytesTotal))
	case m.PackagesTotal > 0:
		return fmt.Sprintf(" (%s, %d %%)", m.Phase, min(100, 100*m.PackagesDone/m.PackagesTotal))
	case p.known:
		return " (" + m.Phase + ")"
	}
	return ""
}
