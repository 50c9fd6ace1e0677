package mcpserver

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/pyro-mcp/pyro"
)

// progressPace is how often a client that asked is told that a call goes on.
const progressPace = time.Second

// reporter tells a client how a call goes on: at each change of phase, and once a progressPace. Its figure is
// the seconds passed, which only grows. A nil reporter is silent.
type reporter struct {
	begun   time.Time
	send    func(seconds float64, message string)
	stop    chan struct{}
	stopped sync.WaitGroup

	mu      sync.Mutex
	message string
	phase   string
	last    float64
}

// report starts a reporter if the request carries a progress token. Its goroutine ends with end.
func report(ctx context.Context, r *mcp.CallToolRequest) *reporter {
	token := r.Params.GetProgressToken()
	if token == nil {
		return nil
	}
	p := &reporter{begun: time.Now(), stop: make(chan struct{}), message: "starting"}
	p.send = func(seconds float64, message string) {
		_ = r.Session.NotifyProgress(
			ctx,
			&mcp.ProgressNotificationParams{ProgressToken: token, Progress: seconds, Message: message},
		)
	}
	p.tell()
	p.stopped.Go(func() {
		ticker := time.NewTicker(progressPace)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				p.tell()
			case <-p.stop:
				return
			case <-ctx.Done():
				return
			}
		}
	})
	return p
}

// say changes what the client is told next.
func (p *reporter) say(message string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	p.message = message
	p.mu.Unlock()
}

// pulling gives the engine's hook for a pull that may come first.
func (p *reporter) pulling() func(pyro.PullProgress) {
	if p == nil {
		return nil
	}
	return p.pull
}

// pull tells of a pull: a new phase at once, the rest at the usual pace.
func (p *reporter) pull(m pyro.PullProgress) {
	message := "pulling the environment: " + m.Phase
	if m.Phase == pyro.PhaseWait || m.Phase == pyro.PhaseCopy {
		message = m.Detail
	}
	if m.BytesTotal > 0 {
		message += fmt.Sprintf(", %d of %d MiB", m.BytesDone>>20, m.BytesTotal>>20)
	}
	if m.PackagesTotal > 0 {
		message += fmt.Sprintf(", %d of %d packages or layers", m.PackagesDone, m.PackagesTotal)
	}
	p.say(message)
	p.mu.Lock()
	begun := m.Phase != p.phase
	p.phase = m.Phase
	p.mu.Unlock()
	if begun {
		p.tell()
	}
}

func (p *reporter) tell() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = max(time.Since(p.begun).Seconds(), p.last+0.001)
	p.send(p.last, p.message)
}

// end stops the reports: none follows the result.
func (p *reporter) end() {
	if p == nil {
		return
	}
	close(p.stop)
	p.stopped.Wait()
}
