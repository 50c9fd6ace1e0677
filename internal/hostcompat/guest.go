// Package hostcompat runs commands on the host, confined by what the host offers without root, where no guest
// can be had. It presents itself as a guest: the same link, the same rules.
//
// Processes: the caller ⇒ the shim, pyro re-executed in namespaces of its own, which answers the link ⇒ one
// keeper for each command, which confines itself for good ⇒ the command. Each ends with the one before it.
package hostcompat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/pyro-mcp/pyro/internal/confine"
	"github.com/pyro-mcp/pyro/internal/process"
)

// Config says where a guest's stand-in lives.
type Config struct {
	Dir      string       // the VM's own directory, absolute: workspace, home and tmp are made in it
	Hostname string       // empty is "pyro"
	Log      *slog.Logger // nil is silence
}

// Guest is a running stand-in. Whoever called [Start] must call [Guest.Kill] in the end.
type Guest struct {
	cmd    *exec.Cmd
	conn   *os.File
	layers confine.Namespaces
	report Report
	done   chan struct{}
	err    error // valid once done is closed
}

// Start makes the directories and starts a stand-in confined to them by all that the host allows. The context
// bounds the start alone. It dies with the calling process.
func Start(ctx context.Context, cfg Config) (*Guest, error) {
	if !filepath.IsAbs(cfg.Dir) {
		return nil, fmt.Errorf("cannot run on the host in %q: not an absolute path", cfg.Dir)
	}
	if cfg.Hostname == "" {
		cfg.Hostname = userName
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	who := confine.Identify()
	if err := makeDirs(cfg.Dir, who); err != nil {
		return nil, err
	}
	g, err := startShim(ctx, settings{Dir: cfg.Dir, Hostname: cfg.Hostname}, who, modeInit)
	if err != nil {
		return nil, err
	}
	for _, line := range g.report {
		log.Info("commands run on the host", "what", line.Name, "confined", line.Confined, "detail",
			line.Detail)
	}
	return g, nil
}

// makeDirs makes what commands may write, and gives it to who they run as.
func makeDirs(dir string, who confine.Identity) error {
	for _, d := range ownDirs {
		path := filepath.Join(dir, d.name)
		if err := os.MkdirAll(path, 0o700); err != nil {
			return fmt.Errorf("cannot make the %s of commands on the host: %w", d.name, err)
		}
		if !who.Other {
			continue
		}
		if err := os.Lchown(path, who.UID, who.GID); err != nil {
			return fmt.Errorf("cannot give the %s of commands on the host to user %d: %w", d.name, who.UID,
				err)
		}
	}
	return nil
}

// startShim starts the shim with all namespaces, or, if the host refuses that, with those that it grants one
// by one.
func startShim(ctx context.Context, s settings, who confine.Identity, mode string) (*Guest, error) {
	s.Layers = confine.Every()
	g, first, err := launch(ctx, s, who, mode)
	if err == nil {
		g.report = report(s.Layers, first, nil)
		return g, nil
	}
	refused := map[confine.Namespace]error{}
	s.Layers = 0
	for _, each := range confine.All() {
		with := s
		with.Layers |= each.Set()
		if each == confine.PID && !with.Layers.Has(confine.Mount) {
			refused[each] = errors.New("needs a mount namespace")
			continue
		}
		g, _, err := launch(ctx, with, who, modeCheck)
		if err != nil {
			refused[each] = err
			continue
		}
		s.Layers = with.Layers
		_ = g.Kill()
	}
	g, first, err = launch(ctx, s, who, mode)
	if err != nil {
		return nil, fmt.Errorf("cannot run commands on the host: %w", err)
	}
	g.report = report(s.Layers, first, refused)
	return g, nil
}

// Conn is the caller's end of the link.
func (g *Guest) Conn() io.ReadWriteCloser { return g.conn }

// Report says what is confined and what is not.
func (g *Guest) Report() Report { return g.report }

// Done is closed when the stand-in has ended, and all that ran in it.
func (g *Guest) Done() <-chan struct{} { return g.done }

// Err is why it ended: nil while it lives, and after a shutdown that was asked for.
func (g *Guest) Err() error {
	select {
	case <-g.done:
		return g.err
	default:
		return nil
	}
}

// Kill ends the stand-in and all that runs in it, closes the link, and returns when they are gone.
func (g *Guest) Kill() error {
	_ = g.conn.Close()
	select {
	case <-g.done:
		return nil
	default:
	}
	if !g.layers.Has(confine.PID) {
		process.EndTree(g.cmd.Process.Pid, endWithin)
	}
	if err := g.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("cannot end the process that runs commands on the host: %w", err)
	}
	select {
	case <-g.done:
		return nil
	case <-time.After(startWithin):
		return errors.New("cannot end the process that runs commands on the host: it does not die")
	}
}
