package supervisor

import (
	"encoding/json"
	"os"
	"path/filepath"
	"sync"

	"github.com/pyro-mcp/pyro/internal/network"
	"github.com/pyro-mcp/pyro/internal/record"
)

// decisionLimit bounds the log of the network's decisions, in bytes; the counters go on.
const decisionLimit = 4 << 20

// networkInfo tells of the guest's network as it is now.
func (s *supervisor) networkInfo() (any, error) {
	if g := s.running(); g != nil && g.network != nil {
		return g.network.Info(), nil
	}
	return network.Info{Enabled: s.snapshot().NetworkEnabled}, nil
}

// decisions gives what the network tells of its decisions: a line of JSON each in the VM's directory.
func (s *supervisor) decisions() func(network.Decision) {
	var mu sync.Mutex
	path := filepath.Join(s.dir, record.NetworkFile)
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
