package oci

import (
	"errors"
	"fmt"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pyro-mcp/pyro/internal/environment"
)

// maxRunConfig bounds the words of a configuration, so that a command's own still have room beside them.
const maxRunConfig = 128 << 10

// runConfig is how commands run in the image: with its variables, in its directory, as its user, and what
// runs if no command is given.
func runConfig(config *v1.ConfigFile) (environment.Config, error) {
	c := config.Config
	sum := 0
	for _, words := range [][]string{c.Env, c.Entrypoint, c.Cmd, {c.User, c.WorkingDir}} {
		for _, word := range words {
			if strings.ContainsRune(word, 0) {
				return environment.Config{}, errors.New("its configuration has a word with a zero byte")
			}
			sum += len(word) + 1
		}
	}
	if sum > maxRunConfig {
		return environment.Config{}, fmt.Errorf(
			"its configuration has words of %d bytes, more than the %d allowed", sum, maxRunConfig)
	}
	return environment.Config{
		Env:        c.Env,
		User:       c.User,
		WorkDir:    path.Join("/", c.WorkingDir),
		Entrypoint: c.Entrypoint,
		Cmd:        c.Cmd,
	}, nil
}

// pinned is the reference with the digest that it stands for.
func (r reference) pinned(digest v1.Hash) string {
	if strings.HasSuffix(r.full, "@"+digest.String()) {
		return r.full
	}
	return r.full + "@" + digest.String()
}
