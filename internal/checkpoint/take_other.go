//go:build !amd64

package checkpoint

import (
	"context"
	"os"
)

func take(context.Context, Process, string, *os.File) error {
	return unsupported("it is written for amd64 alone")
}
