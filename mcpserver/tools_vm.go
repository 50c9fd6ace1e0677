package mcpserver

import (
	"context"

	"github.com/pyro-mcp/pyro"
)

type none struct{}

const outputNote = "Each of stdout and stderr is cut to 64 KiB, beginning and end. "

const goneRest = "the VM is gone: to see all, run the command in a task and read it with task_logs, or filter its output"

func (b *toolbox) addVMTools() {
	p := b.engine
	add(b, tool[pyro.RunInVMRequest, pyro.RunInVMResult]{
		name: "vm_run", title: "Run one command in a fresh VM", effect: changes, required: []string{"command"},
		description: "Run one shell command in a fresh, throw-away Linux VM and return its exit code, stdout and stderr. " +
			"Nothing is kept afterwards and nothing of the user's machine can be seen or changed. Prefer this for any single command; " +
			"for several steps that share files use task_create and task_exec. A non-zero exit_code is a result, not a failure of the tool. " +
			"The first use of an environment may take minutes while it is installed. " + outputNote +
			"Set network to true only if the command needs the internet.",
		do: func(ctx context.Context, c call, in pyro.RunInVMRequest) (pyro.RunInVMResult, error) {
			c.progress.say("running the command in a VM")
			in.Progress = c.pulling()
			out, err := p.RunInVM(ctx, in)
			cutOutput(&out.Output, streamLimit, goneRest)
			return out, err
		},
		text: func(r pyro.RunInVMResult) string { return commandText(r.Output) },
	})
	add(b, tool[none, pyro.ListEnvironmentsResult]{
		name: "vm_list_environments", title: "List environments", effect: reads,
		description: "List the environments that VMs and tasks can be made from: name, version, description, and whether it is " +
			"installed already (one that is not is installed at its first use, which takes minutes).",
		do: func(ctx context.Context, _ call, _ none) (pyro.ListEnvironmentsResult, error) {
			return p.ListEnvironments(ctx)
		},
	})
	add(b, tool[pyro.CreateVMRequest, pyro.VM]{
		name: "vm_create", title: "Create a VM", effect: makes,
		description: "Create a VM without starting it, and return its vm_id. Then call vm_start, vm_exec (one command, which also removes the VM) " +
			"or vm_delete. It is removed when this session ends. For a single command vm_run does all of this in one call.",
		do: func(ctx context.Context, c call, in pyro.CreateVMRequest) (pyro.VM, error) {
			c.progress.say("creating the VM")
			in.Progress = c.pulling()
			out, err := p.CreateVM(ctx, in)
			if err == nil {
				b.owned.add(c.session, out.VMID)
			}
			return out, err
		},
	})
	b.addVMLifeTools()
}

func (b *toolbox) addVMLifeTools() {
	p := b.engine
	add(b, tool[pyro.VMRequest, pyro.VM]{
		name: "vm_start", title: "Start a VM", effect: makes,
		description: "Start a VM that vm_create made. It is ready for vm_exec when this returns.",
		do: func(ctx context.Context, c call, in pyro.VMRequest) (pyro.VM, error) {
			c.progress.say("starting the VM")
			return p.StartVM(ctx, in)
		},
	})
	add(b, tool[pyro.ExecVMRequest, pyro.ExecVMResult]{
		name: "vm_exec", title: "Run the one command of a VM", effect: changes, required: []string{"command"},
		description: "Run one shell command in a started VM and then remove the VM. For several commands in one place use a task instead. " +
			"A non-zero exit_code is a result, not a failure of the tool. " + outputNote,
		do: func(ctx context.Context, c call, in pyro.ExecVMRequest) (pyro.ExecVMResult, error) {
			c.progress.say("running the command")
			out, err := p.ExecVM(ctx, in)
			if err == nil {
				b.owned.forget(in.VMID)
			}
			cutOutput(&out.Output, streamLimit, goneRest)
			return out, err
		},
		text: func(r pyro.ExecVMResult) string { return commandText(r.Output) },
	})
	add(b, tool[pyro.VMRequest, pyro.VM]{
		name: "vm_stop", title: "Stop a VM", effect: destroys,
		description: "Stop a VM. What ran in it ends. Its record stays until vm_delete.",
		do:          func(ctx context.Context, _ call, in pyro.VMRequest) (pyro.VM, error) { return p.StopVM(ctx, in) },
	})
	add(b, tool[pyro.VMRequest, pyro.DeleteResult]{
		name: "vm_delete", title: "Delete a VM", effect: destroys,
		description: "Delete a VM in any state, with all that is in it.",
		do: func(ctx context.Context, _ call, in pyro.VMRequest) (pyro.DeleteResult, error) {
			out, err := p.DeleteVM(ctx, in)
			if err == nil {
				b.owned.forget(in.VMID)
			}
			return out, err
		},
	})
	add(b, tool[pyro.VMRequest, pyro.VM]{
		name: "vm_status", title: "Show a VM", effect: reads,
		description: "Show a VM's record: state (created, started, stopped), sizes, when it expires, last error.",
		do:          func(ctx context.Context, _ call, in pyro.VMRequest) (pyro.VM, error) { return p.StatusVM(ctx, in) },
	})
	add(b, tool[pyro.VMRequest, pyro.NetworkInfo]{
		name: "vm_network_info", title: "Show a VM's network", effect: reads,
		description: "Show the network of a VM or a task: whether it has one, its addresses, policy, counters and published ports. Takes a task_id as vm_id too.",
		do: func(ctx context.Context, _ call, in pyro.VMRequest) (pyro.NetworkInfo, error) {
			return p.NetworkInfoVM(ctx, in)
		},
	})
	add(b, tool[none, pyro.ReapResult]{
		name: "vm_reap_expired", title: "Remove expired VMs", effect: destroys,
		description: "Remove the VMs and tasks that are past their ttl_seconds, and return their ids. Useful when the limit of active VMs is reached.",
		do:          func(ctx context.Context, _ call, _ none) (pyro.ReapResult, error) { return p.ReapExpired(ctx) },
	})
}
