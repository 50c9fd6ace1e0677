package mcpserver

import "github.com/pyro-mcp/pyro"

const (
	outputNote = "A non-zero exit_code is a result, not a failure of the tool. stdout and stderr are cut " +
		"to 32 KiB, beginning and end. "
	goneRest = "the VM is gone: to see all, run the command in a task and read it with task_logs, or " +
		"filter its output"
)

// runTools are the tools of one call, and for environments.
func runTools() []tool {
	return []tool{
		{
			name:      "vm_run",
			title:     "Run one command in a fresh VM",
			operation: "run_in_vm",
			description: "Run one shell command in a fresh, throw-away Linux VM, apart from the user's " +
				"machine; nothing is kept. " +
				"An environment that is not installed is installed first, which takes minutes. " + outputNote,
			notes:    []note{{"network", "Set network only if the command needs the internet."}},
			profiles: []Profile{ProfileRun, ProfileCore, ProfileTask},
			required: []string{"command"},
			doing:    "running the command in a VM",
			finish: finishing(func(_ call, _ pyro.RunInVMRequest, r *pyro.RunInVMResult) {
				cutOutput(&r.Output, streamLimit, goneRest)
			}),
			text: wording(func(r pyro.RunInVMResult) string { return commandText(r.Output) }),
		},
		{
			name:      "vm_list_environments",
			title:     "List environments",
			operation: "list_environments",
			description: "List the environments that VMs and tasks can be made from, and which are " +
				"installed already.",
			profiles: []Profile{ProfileTask},
		},
	}
}

// vmTools are the tools for VMs without a workspace.
func vmTools() []tool {
	return []tool{
		{
			name:      "vm_create",
			title:     "Create a VM",
			operation: "create_vm",
			description: "Create a VM for vm_start and then vm_exec, which runs one command and removes " +
				"it. It is removed when this session ends. " +
				"vm_run does all of this in one call.",
			doing: "creating the VM",
			finish: finishing(func(c call, _ pyro.CreateVMRequest, vm *pyro.VM) {
				c.owned.add(c.session, vm.VMID)
			}),
		},
		{
			name:        "vm_start",
			title:       "Start a VM",
			operation:   "start_vm",
			description: "Start a VM that vm_create made.",
			doing:       "starting the VM",
		},
		{
			name:        "vm_exec",
			title:       "Run the one command of a VM",
			operation:   "exec_vm",
			description: "Run one shell command in a started VM and then remove the VM. " + outputNote,
			required:    []string{"command"},
			doing:       "running the command",
			finish: finishing(func(c call, in pyro.ExecVMRequest, r *pyro.ExecVMResult) {
				c.owned.forget(in.VMID)
				cutOutput(&r.Output, streamLimit, goneRest)
			}),
			text: wording(func(r pyro.ExecVMResult) string { return commandText(r.Output) }),
		},
		{
			name:        "vm_stop",
			title:       "Stop a VM",
			operation:   "stop_vm",
			description: "Stop a VM. What ran in it ends. Its record stays until vm_delete.",
		},
		{
			name:        "vm_delete",
			title:       "Delete a VM",
			operation:   "delete_vm",
			description: "Delete a VM in any state, with all that is in it.",
			finish: finishing(func(c call, in pyro.VMRequest, _ *pyro.DeleteResult) {
				c.owned.forget(in.VMID)
			}),
		},
		{
			name:        "vm_status",
			title:       "Show a VM",
			operation:   "status_vm",
			description: "Show a VM: state (created, started, stopped), sizes, when it expires, last error.",
		},
		{
			name:      "vm_network_info",
			title:     "Show a VM's network",
			operation: "network_info_vm",
			description: "Show the network of a VM or a task (its task_id as vm_id): addresses, policy, " +
				"counters, published ports.",
		},
		{
			name:        "vm_reap_expired",
			title:       "Remove expired VMs",
			operation:   "reap_expired",
			description: "Remove the VMs and tasks that are past their ttl_seconds.",
		},
	}
}
