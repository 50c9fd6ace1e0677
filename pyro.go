// Package pyro runs commands in microVMs: one thrown away after each command, or one kept as a task whose
// workspace outlives each command. There is no daemon and no root: each VM has a supervisor process of its
// own, the pyro executable re-executed (see [WithCommand]).
//
//	p, err := pyro.New()
//	if err != nil { … }
//	defer p.Close()
//	result, err := p.RunInVM(ctx, pyro.RunInVMRequest{
//		Shape:       pyro.Shape{Environment: "debian:12"},
//		CommandLine: pyro.CommandLine{Command: "git --version"},
//	})
//
// The methods are those of every other face of pyro (command line, MCP, Python), with the same parameters,
// defaults, result fields and errors. A context bounds the call, never the life of a VM or a task.
package pyro

import (
	"log/slog"
	"time"

	"github.com/pyro-mcp/pyro/internal/environment"
	"github.com/pyro-mcp/pyro/internal/environment/debian"
	"github.com/pyro-mcp/pyro/internal/environment/oci"
	"github.com/pyro-mcp/pyro/internal/instances"
	"github.com/pyro-mcp/pyro/internal/template"
)

// Pyro is the engine. It is safe for concurrent use, and several processes may share its directories.
type Pyro struct {
	options   Options
	store     *environment.Store
	instances *instances.Instances
	pool      *instances.Pool
	log       *slog.Logger
}

// New makes an engine. It touches nothing on disk until an operation needs it.
func New(options ...Option) (*Pyro, error) {
	var o Options
	for _, option := range options {
		option(&o)
	}
	if err := o.complete(); err != nil {
		return nil, err
	}
	archive, err := debian.New(debian.Options{Mirror: o.Mirror})
	if err != nil {
		return nil, err
	}
	live := instances.Open(instances.Options{
		StateDir:  o.StateDir,
		Command:   o.Command,
		MaxActive: o.MaxActiveVMs,
		Wait:      DefaultWaitSeconds * time.Second,
		Log:       o.Logger,
	})
	return &Pyro{
		options:   o,
		store:     environment.Open(o.CacheDir, archive, oci.New(oci.Options{Kernel: archive.Kernel})),
		instances: live,
		pool:      live.NewPool(o.Pool),
		log:       o.Logger,
	}, nil
}

// Options returns the options in force, defaults filled in.
func (p *Pyro) Options() Options { return p.options }

// Close ends what belongs to this engine alone (the pool). VMs and tasks live on.
func (p *Pyro) Close() error {
	p.pool.Close()
	return nil
}

func (p *Pyro) snapshots() *template.Snapshots { return template.OpenSnapshots(p.options.StateDir) }
