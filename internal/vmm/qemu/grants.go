package qemu

import (
	"context"
	"fmt"
	"os"

	"github.com/pyro-mcp/pyro/internal/confine"
)

// grantedFile has what the host grants, for the next process.
const grantedFile = "confinement.json"

// granted is what the host grants to confine QEMU by, as found out by trying.
type granted struct {
	Format     int                `json:"format"`
	BootID     string             `json:"boot_id"`
	Kernel     string             `json:"kernel"`
	Caller     string             `json:"caller"` // user and namespaces of who tried
	Namespaces confine.Namespaces `json:"namespaces"`
	User       int                `json:"user"` // who QEMU becomes if it is root that runs it; 0 is no change
	Borrow     bool               `json:"borrow"`
	Refused    map[string]string  `json:"refused,omitempty"` // why, by the namespace's name
}

// grantedFormat is raised if what is tried changes.
const grantedFormat = 1

// fresh is what is known before anything was tried.
func fresh() granted {
	g := granted{Format: grantedFormat, Refused: map[string]string{}}
	g.BootID, g.Kernel = host()
	user, _ := os.Readlink("/proc/self/ns/user")
	mount, _ := os.Readlink("/proc/self/ns/mnt")
	g.Caller = fmt.Sprintf("%d %s %s", os.Geteuid(), user, mount)
	return g
}

// same tells whether what was found out holds for this process.
func (g granted) same(now granted) bool {
	return g.Format == now.Format && g.BootID == now.BootID && g.Kernel == now.Kernel &&
		g.Caller == now.Caller
}

// grants gives what the host grants, from memory or by trying.
func (d *Driver) grants(ctx context.Context) (granted, error) {
	now := fresh()
	d.mu.Lock()
	known := d.granted
	d.mu.Unlock()
	if known.same(now) {
		return known, nil
	}
	if known = load[granted](d, grantedFile); !known.same(now) {
		var err error
		if known, err = negotiate(ctx, now); err != nil {
			return granted{}, err
		}
		d.save(grantedFile, known)
	}
	d.mu.Lock()
	d.granted = known
	d.mu.Unlock()
	return known, nil
}

// Confinement tells what QEMU is confined by on this host, by trying it.
func (d *Driver) Confinement(ctx context.Context) (confine.Report, error) {
	d.forget()
	g, err := d.grants(ctx)
	if err != nil {
		return nil, err
	}
	o := order{Borrow: g.Borrow, Programs: programs("/usr/bin/qemu"), FileBytes: 1 << 30}
	p, said, listener, err := startShim(ctx, g, o, command{}, nil, nil)
	if err != nil {
		return nil, err
	}
	if listener != nil {
		listener.Close()
	}
	p.kill()
	return report(g, said, o), nil
}

// forget is for a host that no longer grants what it did.
func (d *Driver) forget() {
	d.mu.Lock()
	d.granted = granted{}
	d.mu.Unlock()
	if d.options.CacheDir != "" {
		_ = os.Remove(d.path(grantedFile))
	}
}

// negotiate tries all namespaces at once, or, if the host refuses that, one after the other. Root needs no
// user namespace: it becomes somebody else, for which it must have made QEMU's files reachable to them, in a
// view.
func negotiate(ctx context.Context, g granted) (granted, error) {
	who := confine.Identify()
	best := g
	best.Namespaces = confine.Every()
	if os.Geteuid() == 0 {
		best.Namespaces &^= confine.User.Set()
	}
	if who.Other {
		best.User = who.UID
	}
	said, err := attempt(ctx, best)
	if err == nil {
		best.Borrow = said.BorrowErr == ""
		return best, nil
	}
	for _, each := range confine.All() {
		with := g
		with.Namespaces |= each.Set()
		if each == confine.PID && !with.Namespaces.Has(confine.Mount) {
			g.Refused[string(each)] = "needs a mount namespace"
			continue
		}
		if _, err := attempt(ctx, with); err != nil {
			if ctx.Err() != nil {
				return g, ctx.Err()
			}
			g.Refused[string(each)] = confine.OneLine(err.Error())
			continue
		}
		g.Namespaces = with.Namespaces
	}
	if who.Other && g.Namespaces.Has(confine.Mount) && !g.Namespaces.Has(confine.User) {
		with := g
		with.User = who.UID
		if _, err := attempt(ctx, with); err == nil {
			g = with
		}
	}
	if said, err = attempt(ctx, g); err != nil {
		return g, fmt.Errorf("cannot confine qemu: %w", err)
	}
	g.Borrow = said.BorrowErr == ""
	return g, nil
}

// attempt starts a shim that becomes nothing.
func attempt(ctx context.Context, g granted) (outcome, error) {
	p, said, listener, err := startShim(ctx, g, order{Borrow: true, Programs: programs("/usr/bin/qemu"),
		FileBytes: 1 << 30}, command{}, nil, nil)
	if err != nil {
		return said, err
	}
	if listener != nil {
		listener.Close()
	}
	p.kill()
	return said, nil
}
