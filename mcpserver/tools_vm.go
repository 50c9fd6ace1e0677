package mcpserver

import "github.com/pyro-mcp/pyro"

const (
	outputNote = "Each of stdout and stderr is cut to 64 KiB, beginning and end. "
	goneRest   = "the VM is gone: to see all, run the command in a task and read it with task_logs, or " +
		"filter its output"
)

// vmTools make VMs without a workspace and run commands in them; they list the environments, too.
func vmTools() []tool {
	return []tool{
		{
			name:      "vm_run",
			title:     "Run one command in a fresh VM",
			operation: "run_in_vm",
			description: "Run one shell command in a fresh, throw-away Linux VM and return its exit code, " +
				"stdout and stderr. " +
				"Nothing is kept afterwards and nothing of the user's machine can be seen or changed. " +
				"Prefer this for any single command; " +
				"for several steps that share files use task_create and task_exec. A non-zero exit_code " +
				"is a result, not a failure of the tool. " +
				"The first use of an environment may take minutes while it is installed. " + outputNote +
				"Set network to true only if the command needs the internet.",
			profiles: []Profile{ProfileRun, ProfileTask},
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
			description: "List the environments that VMs and tasks can be made from: name, version, " +
				"description, and whether it is " +
				"installed already (one that is not is installed at its first use, which takes minutes).",
			profiles: []Profile{ProfileTask},
		},
		{
			name:      "vm_create",
			title:     "Create a VM",
			operation: "create_vm",
			description: "Create a VM without starting it, and return its vm_id. Then call vm_start, " +
				"vm_exec (one command, which also removes the VM) " +
				"or vm_delete. It is removed when this session ends. For a single command vm_run does all " +
				"of this in one call.",
			doing: "creating the VM",
			finish: finishing(func(c call, _ pyro.CreateVMRequest, vm *pyro.VM) {
				c.owned.add(c.session, vm.VMID)
			}),
		},
		{
			name:        "vm_start",
			title:       "Start a VM",
			operation:   "start_vm",
			description: "Start a VM that vm_create made. It is ready for vm_exec when this returns.",
			doing:       "starting the VM",
		},
		{
			name:      "vm_exec",
			title:     "Run the one command of a VM",
			operation: "exec_vm",
			description: "Run one shell command in a started VM and then remove the VM. For several " +
				"commands in one place use a task instead. " +
				"A non-zero exit_code is a result, not a failure of the tool. " + outputNote,
			required: []string{"command"},
			doing:    "running the command",
			finish: finishing(func(c call, in pyro.ExecVMRequest, r *pyro.ExecVMResult) {
				c.owned.forget(in.VMID)
				cutOutput(&r.Output, streamLimit, goneRest)
			}),
			text: wording(func(r pyro.ExecVMResult) string { return commandText(r.Output) }),
		},
	}
}

// vmCareTools look after a VM that was made, and after all that are there.
func vmCareTools() []tool {
	return []tool{
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
			name:      "vm_status",
			title:     "Show a VM",
			operation: "status_vm",
			description: "Show a VM's record: state (created, started, stopped), sizes, when it expires, " +
				"last error.",
		},
		{
			name:      "vm_network_info",
			title:     "Show a VM's network",
			operation: "network_info_vm",
			description: "Show the network of a VM or a task: whether it has one, its addresses, policy, " +
				"counters and published ports. Takes a task_id as vm_id too.",
		},
		{
			name:      "vm_reap_expired",
			title:     "Remove expired VMs",
			operation: "reap_expired",
			description: "Remove the VMs and tasks that are past their ttl_seconds, and return their ids. " +
				"Useful when the limit of active VMs is reached.",
		},
	}
}
