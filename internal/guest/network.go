package guest

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/network"
)

// decisionLimit bounds the log of the network's decisions, in bytes; the counters go on.
const decisionLimit = 4 << 20

// NetworkInfo tells of a guest's network as it is now.
func (g *Guest) NetworkInfo() any {
	if g.network == nil {
		return NoNetwork(false)
	}
	return g.network.Info()
}

// NoNetwork is what there is to tell of the network of a guest that does not run; enabled says that it is to
// have one.
func NoNetwork(enabled bool) any { return network.Info{Enabled: enabled} }

// newNetwork makes the user-mode network that ends in this process.
func (g *Guest) newNetwork(spec Spec) (*network.Network, error) {
	return network.New(context.Background(), network.Config{
		Allow:   spec.Allow,
		Host:    spec.Host,
		Publish: spec.Publish,
		Inbound: spec.Inbound,
		Inside:  g.dialInside,
		Log:     logDecisions(filepath.Join(spec.Dir, spec.NetworkFile)),
	})
}

// dialInside connects to a server on the guest's own loopback.
func (g *Guest) dialInside(ctx context.Context, port int) (network.Conn, error) {
	client := g.talker.Load()
	if client == nil {
		return nil, errors.New("the guest does not answer yet")
	}
	return client.Dial(ctx, link.Dial{Port: port})
}

// logDecisions writes what the network decides into a file: a line of JSON each.
func logDecisions(path string) func(network.Decision) {
	var mu sync.Mutex
	return func(d network.Decision) {
		mu.Lock()
		defer mu.Unlock()
		data, err := json.Marshal(d)
		if err != nil {
			return
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.Size() < decisionLimit {
			f.Write(append(data, '\n'))
		}
	}
}
