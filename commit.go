package pyro

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/pyro-mcp/pyro/internal/environment"
	"github.com/pyro-mcp/pyro/internal/environment/oci"
	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/record"
)

// CommitTask makes an installed environment of a task's disk, its workspace included: of all that lies over
// the environment that the task was made from. Commands in the task stand still while its files are read. An
// environment that was committed under the same name before is replaced; what uses that goes on with it.
func (p *Pyro) CommitTask(ctx context.Context, r CommitTaskRequest) (CommitTaskResult, error) {
	if err := p.store.CheckCommitName(r.Environment); err != nil {
		return CommitTaskResult{}, invalid("cannot commit under %v", err)
	}
	begun := time.Now()
	s, err := p.started(ctx, r.TaskID)
	if err != nil {
		return CommitTaskResult{}, err
	}
	defer s.Close()
	vm, err := p.status(s.ID)
	if err != nil {
		return CommitTaskResult{}, err
	}
	if vm.ExecutionMode == link.ModeHostCompat {
		const why = "cannot commit %q: its commands run on the host, and environments are made in guests"
		return CommitTaskResult{}, &Error{Kind: ErrState, Message: fmt.Sprintf(why, s.ID)}
	}
	var failed error
	m, err := p.store.Commit(ctx, environment.CommitRequest{
		Name:       r.Environment,
		Base:       environment.Boot{Image: vm.Boot.Image, Kernel: bootKernel(vm.Boot.Kernel)},
		BaseSHA256: vm.Boot.ImageSHA256,
		Config:     p.configOf(vm),
		Changes: func(w io.Writer) error {
			failed = s.Client.Take(ctx, link.OpExport, link.Export{Workspace: true, Still: true}, nil, w)
			return failed
		},
	})
	if failed != nil && ctx.Err() == nil {
		return CommitTaskResult{}, fromLink(fmt.Sprintf("cannot commit %q", s.ID), failed)
	}
	if err != nil {
		return CommitTaskResult{}, environmentError("", err)
	}
	// The first task made of it is to be a warm one already.
	if vm, err := p.describe(ctx, record.KindBuild, Shape{Environment: m.Name}, nil); err == nil {
		p.warmLater(vm)
	}
	return CommitTaskResult{
		TaskID:     s.ID,
		DurationMS: time.Since(begun).Milliseconds(),
		Env:        viewManifest(m),
	}, nil
}

// configOf is how commands run in a task, as its environment says it.
func (p *Pyro) configOf(vm record.VM) environment.Config {
	c := environment.Config{
		Env:        vm.Boot.Env,
		User:       vm.Boot.User,
		Entrypoint: vm.Boot.Entrypoint,
		Cmd:        vm.Boot.Cmd,
		WorkDir:    vm.Boot.WorkDir,
	}
	// A task's record does not have where a run's commands would begin.
	if m, err := p.store.Get(vm.Environment); err == nil && m.Image.SHA256 == vm.Boot.ImageSHA256 {
		c = m.Config
	}
	return c
}

func bootKernel(k record.Kernel) environment.Kernel {
	return environment.Kernel{
		Path:       k.Path,
		SHA256:     k.SHA256,
		ModulesDir: k.ModulesDir,
		Modules:    k.Modules,
	}
}

// PushEnvironment brings an installed environment into a registry, as an image with one layer, from which
// other machines pull it by its digest. Credentials are those that docker login keeps.
func (p *Pyro) PushEnvironment(
	ctx context.Context, r PushEnvironmentRequest,
) (result PushEnvironmentResult, err error) {
	to, err := oci.Target(r.To)
	if err != nil {
		return result, environmentError("cannot push", err)
	}
	m, err := p.store.Get(r.Environment)
	if err != nil {
		return result, environmentError("cannot push an environment", err)
	}
	begun := time.Now()
	dir, release, err := p.store.Scratch(ctx)
	if err != nil {
		return result, environmentError("cannot push an environment", err)
	}
	defer func() { err = errors.Join(err, release()) }()
	request := oci.PushRequest{
		To: r.To,
		Registries: environment.Registries{
			Insecure: slices.Concat(p.options.InsecureRegistries, r.InsecureRegistries),
		},
		Dir: dir,
		Layer: func(w io.Writer) (environment.Manifest, error) {
			return p.store.Flatten(ctx, r.Environment, w)
		},
	}
	if r.Progress != nil {
		r.Progress(PullProgress{Phase: "pack", Detail: "packing " + m.Name})
		request.Progress = func(done, total int64) {
			r.Progress(PullProgress{
				Phase:      "push",
				Detail:     "sending it to " + to,
				BytesDone:  done,
				BytesTotal: total,
			})
		}
	}
	pushed, err := oci.Push(ctx, request)
	if err != nil {
		return result, environmentError(fmt.Sprintf("cannot push %q", m.Name), err)
	}
	return PushEnvironmentResult{
		Environment: m.Name,
		Reference:   pushed.Reference,
		Digest:      pushed.Digest,
		Bytes:       pushed.Bytes,
		DurationMS:  time.Since(begun).Milliseconds(),
	}, nil
}

// RemoveEnvironment forgets an installed environment. What was made of it goes on; its image is removed by
// the next prune after that.
func (p *Pyro) RemoveEnvironment(ctx context.Context, r EnvironmentRequest) (RemoveEnvironmentResult, error) {
	m, err := p.store.Remove(ctx, r.Environment)
	if err != nil {
		return RemoveEnvironmentResult{}, environmentError("cannot remove an environment", err)
	}
	return RemoveEnvironmentResult{Environment: m.Name, Removed: true}, nil
}
