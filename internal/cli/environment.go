package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pyro-mcp/pyro"
)

// withEnvironment does an operation that pulls its environment first where that is missing: the pull is shown, and
// an unknown name is answered with the nearest known one.
func withEnvironment[T any](ctx context.Context, a *app, p *pyro.Pyro, name string, do func(func(pyro.PullProgress)) (T, error)) (T, error) {
	shown := a.progress()
	result, err := do(shown.hook())
	shown.end()
	return result, knownEnvironment(ctx, p, name, err)
}

// knownEnvironment adds the nearest known environment to an error about an unknown one.
func knownEnvironment(ctx context.Context, p *pyro.Pyro, name string, err error) error {
	if err == nil || !errors.Is(err, pyro.ErrEnvironment) && !errors.Is(err, pyro.ErrNotFound) {
		return err
	}
	if errors.Is(err, pyro.ErrEnvironment) && pyro.ErrorHint(err) != "" {
		return err // It says itself what to do.
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

// nearName hints at the nearest known name in an error about an unknown one.
func nearName(err error, name string, known []string) error {
	near := nearest(name, known)
	if near == "" || near == name || strings.Contains(err.Error(), strconv.Quote(near)) {
		return err
	}
	hinted := &pyro.Error{Message: err.Error(), Hint: fmt.Sprintf("did you mean %s?", near)}
	for _, kind := range []error{pyro.ErrNotFound, pyro.ErrEnvironment} {
		if errors.Is(err, kind) {
			hinted.Kind = kind
		}
	}
	return hinted
}
