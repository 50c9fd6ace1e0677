package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/pyro-mcp/pyro/internal/hostcompat"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/template"
	"golang.org/x/sys/unix"
)

// startHost has the host, confined, stand in for a guest.
func (l Launcher) startHost(ctx context.Context, spec Spec) (*Guest, error) {
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	kept, err := template.FindKept(spec.Dir)
	if err == nil && kept != nil {
		if !kept.Host {
			return nil, otherKind("its disk is a guest's, for which the host cannot stand in")
		}
		err = hostcompat.Clear(spec.Dir)
	}
	if err != nil {
		return nil, err
	}
	h, err := hostcompat.Start(ctx, hostcompat.Config{Dir: spec.Dir, Hostname: spec.ID, Log: l.Log})
	if err != nil {
		return nil, err
	}
	// What an image says is about its own files: on this host its directory is not to be made, and its
	// variables mean something else.
	spec.Env, spec.User, spec.WorkDir = nil, "", ""
	g, err := l.Join(ctx, spec, h, h.Conn(),
		Facts{Mode: ModeHost, MemMiB: spec.MemMiB, Confinement: h.Report().String()})
	if err != nil {
		return nil, err
	}
	g.id, g.dir = spec.ID, spec.Dir
	if kept != nil {
		if err := errors.Join(g.refill(ctx, kept), kept.Drop()); err != nil {
			g.Kill()
			return nil, err
		}
		g.facts.Forgotten = "what runs on the host has no memory that could be kept"
	}
	return g, nil
}

// otherKind is that a VM is to go on from what was kept of the other kind.
func otherKind(why string) error { return &link.Error{Code: link.CodeState, Message: why} }

// refill puts the files that were kept into the workspace.
func (g *Guest) refill(ctx context.Context, kept *template.Kept) error {
	files, err := os.Open(kept.Parts().Scratch)
	if err != nil {
		return err
	}
	defer files.Close()
	_, err = g.client.Import(ctx, hostcompat.Refill(), files)
	return g.Lost(err)
}

// keepWorkspaceIn fills the directory of a snapshot of what the host runs in a guest's stead: its workspace,
// as it is when it is read.
func (g *Guest) keepWorkspaceIn(ctx context.Context, dir string, snap *template.Snapshot) error {
	files, err := os.OpenFile(template.PartsIn(dir).Scratch, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	var saved link.Saved
	err = g.client.Take(ctx, link.OpSave, link.Save{Full: true}, &saved, files)
	if err == nil {
		err = unix.Fdatasync(int(files.Fd()))
	}
	if err = errors.Join(err, files.Close()); err != nil {
		return g.Lost(err)
	}
	snap.Host, snap.WithoutMemory = true, "what runs on the host keeps its files in "+link.Workspace+" alone"
	if saved.LeftOutCount > 0 {
		snap.WithoutMemory += fmt.Sprintf(", without %d that cannot be kept: %s", saved.LeftOutCount,
			strings.Join(saved.LeftOut, ", "))
	}
	return nil
}
