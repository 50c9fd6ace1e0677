package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/pyro-mcp/pyro"
)

// withEnvironment does an operation that needs an environment. Where that is known but not installed, it is
// pulled first, shown as pyro env pull shows it: so the first command that a person types works.
func withEnvironment[T any](ctx context.Context, a *app, p *pyro.Pyro, name string, do func() (T, error)) (T, error) {
	result, err := do()
	if err == nil || !errors.Is(err, pyro.ErrEnvironment) && !errors.Is(err, pyro.ErrNotFound) {
		return result, err
	}
	list, errList := p.ListEnvironments(ctx)
	if errList != nil {
		return result, err
	}
	var names []string
	for _, e := range list.Environments {
		if e.Name == name && !e.Installed {
			a.remark("%s is not installed yet: pulling it", name)
			if _, err := a.pull(ctx, p, pyro.PullEnvironmentRequest{Environment: name}); err != nil {
				return result, err
			}
			return do()
		}
		names = append(names, e.Name)
	}
	return result, nearName(err, name, names)
}

// nearName adds the nearest known name to an error about an unknown one that has no hint.
func nearName(err error, name string, known []string) error {
	near := nearest(name, known)
	if near == "" || near == name || pyro.ErrorHint(err) != "" {
		return err
	}
	return &pyro.Error{Kind: kindOf(err), Message: err.Error(), Hint: fmt.Sprintf("did you mean %s?", near)}
}

func kindOf(err error) error {
	for _, kind := range []error{pyro.ErrNotFound, pyro.ErrEnvironment, pyro.ErrInvalid} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return nil
}

// pull pulls an environment and shows it.
func (a *app) pull(ctx context.Context, p *pyro.Pyro, request pyro.PullEnvironmentRequest) (pyro.PullEnvironmentResult, error) {
	shown := a.progress()
	request.Progress = shown.hook()
	result, err := p.PullEnvironment(ctx, request)
	shown.end()
	return result, err
}

// knownEnvironment adds the nearest known environment to an error about an unknown one.
func (a *app) knownEnvironment(ctx context.Context, p *pyro.Pyro, name string, err error) error {
	if err == nil || !errors.Is(err, pyro.ErrEnvironment) && !errors.Is(err, pyro.ErrNotFound) {
		return err
	}
	list, errList := p.ListEnvironments(ctx)
	if errList != nil {
		return err
	}
	var names []string
	for _, e := range list.Environments {
		names = append(names, e.Name)
	}
	return nearName(err, name, names)
}
