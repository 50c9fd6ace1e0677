package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newTaskCopy(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cp {ID:PATH HOST_PATH | HOST_PATH ID:PATH}",
		Short: "Copy files between a task and the host",
		Long: `Copies a file or a directory into a task or out of it. PATH is below /workspace unless it is
absolute. If the target is a directory that is there, the copy gets its old name below it. With - in
place of HOST_PATH a tar goes to stdout, or comes from stdin and is unpacked into PATH.

Modes, times, links, holes and odd names stay what they are. In a task the copy belongs to the
user that runs commands; on the host to you, or run by root to whom it belonged in the guest. A
tar says who owns what. Nothing that a guest made is followed on the host, and no copy there may run
as another user (set-uid).`,
		Example: "  pyro task cp \"$id\":report.xml .\n" +
			"  pyro task cp ./data \"$id\":/srv/data\n" +
			"  pyro task cp \"$id\":/etc - | tar t",
		Args:              exactly("SOURCE", "TARGET"),
		ValidArgsFunction: a.completeTask(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, guestFrom := inTask(args[0])
			to, guestTo := inTask(args[1])
			if guestFrom == guestTo {
				return usagef("%s: one of the two must be in a task, as ID:PATH", cmd.CommandPath())
			}
			result, err := with(a, func(p *pyro.Pyro) (pyro.CopyResult, error) {
				return withEnvironment(a, func(show func(pyro.PullProgress)) (pyro.CopyResult, error) {
					if guestTo {
						return a.upload(cmd.Context(), p, args[0], to, show)
					}
					return a.download(cmd.Context(), p, from, args[1], show)
				})
			})
			if err != nil {
				return err
			}
			if result.LeftOutCount > 0 {
				a.remark("left out, since it cannot be copied: %s", some(result.LeftOut, result.LeftOutCount))
			}
			if args[1] == "-" {
				return nil
			}
			return a.print(result, func(w io.Writer) {
				fmt.Fprintf(w, "copied %d entries, %s, to %s\n", result.EntryCount,
					size(result.BytesWritten), result.Path)
			})
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// place is a path in a task.
type place struct{ id, path string }

// inTask reads ID:PATH. What has a slash before the colon is a path of the host's.
func inTask(word string) (place, bool) {
	id, path, ok := strings.Cut(word, ":")
	if !ok || id == "" || strings.ContainsRune(id, '/') || strings.HasPrefix(id, ".") {
		return place{}, false
	}
	return place{id, path}, true
}

func (a *app) upload(
	ctx context.Context, p *pyro.Pyro, from string, to place, show func(pyro.PullProgress),
) (pyro.CopyResult, error) {
	r := pyro.UploadRequest{
		TaskID:   to.id,
		HostPath: from,
		Path:     to.path,
		Progress: show,
	}
	if from == "-" {
		r.HostPath, r.Tar = "", a.stdin
	}
	result, err := p.Upload(ctx, r)
	return result, knownTask(ctx, p, to.id, err)
}

func (a *app) download(
	ctx context.Context, p *pyro.Pyro, from place, to string, show func(pyro.PullProgress),
) (pyro.CopyResult, error) {
	r := pyro.DownloadRequest{
		TaskID:   from.id,
		Path:     from.path,
		HostPath: to,
		Progress: show,
	}
	if to == "-" {
		r.HostPath, r.Tar = "", a.stdout
	}
	result, err := p.Download(ctx, r)
	return result, knownTask(ctx, p, from.id, err)
}
