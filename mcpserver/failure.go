package mcpserver

import (
	"context"
	"errors"
	"strings"

	"github.com/pyro-mcp/pyro"
)

// advice says what a model can do about each kind of failure, with its tools or by asking the user.
var advice = []struct {
	kind error
	text string
}{
	{pyro.ErrInvalid, "Correct the arguments and call the tool again."},
	{pyro.ErrNotFound, "It may have been deleted, or reaped after its ttl_seconds. Use an id that a create tool returned, or create a new one; vm_list_environments lists the environments."},
	{pyro.ErrState, "Look at its state with vm_status or task_status first: a VM must be started before vm_exec, and a stopped one cannot run commands."},
	{pyro.ErrLimitReached, "Delete what you no longer need with vm_delete or task_delete, or call vm_reap_expired, then try again."},
	{pyro.ErrGuestUnavailable, "No VM can boot on this machine. Ask the user to run `pyro doctor`. Set allow_host_compat only if the user agrees that commands run on the host itself."},
	{pyro.ErrGuestLost, "The VM died while it worked, often for lack of memory: try again with a larger mem_mib."},
	{pyro.ErrTimeout, "Try again with a larger timeout_seconds, or with less work in one command."},
	{pyro.ErrBadSeed, "source_path cannot be imported: name a directory or a sound .tar, .tar.gz or .tgz without entries that lead outside it."},
	{pyro.ErrNoSpace, "Delete files or VMs that are not needed, or ask for a larger disk_mib."},
	{pyro.ErrEnvironment, "Choose an environment of vm_list_environments, or ask the user to run `pyro env pull NAME`."},
}

// explain words a failure for a model: what failed, and what to do next.
func explain(err error) string {
	if errors.Is(err, context.Canceled) {
		return "The call was cancelled, and its command killed."
	}
	text := "[" + pyro.ErrorKind(err) + "] " + strings.TrimSuffix(err.Error(), ".") + "."
	if hint := pyro.ErrorHint(err); hint != "" {
		text += " Hint: " + strings.TrimSuffix(hint, ".") + "."
	}
	for _, a := range advice {
		if errors.Is(err, a.kind) {
			return text + " " + a.text
		}
	}
	return text
}
