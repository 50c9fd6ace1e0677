package instances

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// Spare makes a VM that is started ahead and then waits so many seconds for a run of its shape, of any
// process. It counts apart from the limit while it waits, and no more wait than may live. The session, on
// which the caller posts [link.OpSpare], is nil if none is wanted: one of the shape waits already.
func (i *Instances) Spare(ctx context.Context, vm record.VM, seconds int) (*Session, error) {
	shape, err := i.spareShape(vm)
	if err != nil {
		return nil, err
	}
	vm.Kind, vm.TTLSeconds, vm.Metadata, vm.Warnings = record.KindPool, seconds, map[string]string{}, nil
	id, lock, err := i.root.CreateSpare(shape, i.options.MaxActive)
	if errors.Is(err, record.ErrSpare) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return i.begin(ctx, id, lock, vm)
}

// Claim gives a spare of a VM's shape, if one waits, to the caller alone. It then counts against the limit,
// and is bound to the session.
func (i *Instances) Claim(ctx context.Context, vm record.VM) (Ready, bool) {
	shape, err := i.spareShape(vm)
	if err != nil {
		return Ready{}, false
	}
	id, err := i.root.ClaimSpare(shape, i.options.MaxActive, i.counts)
	if err != nil || id == "" {
		return Ready{}, false // Whatever is wrong, making a VM finds it out, too.
	}
	s, err := i.Connect(ctx, id)
	if err == nil {
		if err = s.Client.Call(ctx, link.OpClaim, vm, &vm); err == nil {
			return Ready{s, vm}, true
		}
		s.Close()
	}
	// Its time was over at this very moment, most likely.
	if err := errors.Join(err, i.Discard(id)); err != nil {
		i.options.Log.Info("a spare could not be had", "error", err)
	}
	return Ready{}, false
}

// IsSpare tells whether a VM waits for a run.
func (i *Instances) IsSpare(id string) bool { return i.root.IsSpare(id) }

// spareShape tells spares apart by all that a run can ask for and by the program that supervises them: an
// older one's are not for a newer one.
func (i *Instances) spareShape(vm record.VM) (string, error) {
	command, err := i.command()
	if err != nil {
		return "", err
	}
	program, err := os.Stat(command)
	if err != nil {
		return "", err
	}
	vm.Kind, vm.TTLSeconds, vm.Metadata, vm.Warnings = "", 0, nil, nil
	data, err := json.Marshal(vm)
	if err != nil {
		return "", err
	}
	var inode uint64
	if st, ok := program.Sys().(*syscall.Stat_t); ok {
		inode = st.Ino
	}
	sum := sha256.Sum256(fmt.Appendf(data, " %d %d %d", inode, program.Size(), program.ModTime().UnixNano()))
	return hex.EncodeToString(sum[:]), nil
}
