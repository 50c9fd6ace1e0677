package pyro

import (
	"slices"
)

// Operations declares every operation, in the order of the documentation. To add one, add a row to the list
// of its subject: docs/operations.md says what else.
func Operations() []Operation {
	return slices.Concat(environmentOperations(), vmOperations(), taskOperations(), commandOperations(),
		fileOperations(), snapshotOperations())
}

// environmentOperations are those on environments.
func environmentOperations() []Operation {
	return []Operation{
		bare("list_environments", EffectReads,
			"List the environments: the catalog, and what else is installed.", (*Pyro).ListEnvironments),
		operation("pull_environment", EffectMakes,
			"Fetch, verify, build and install an environment.", (*Pyro).PullEnvironment),
		operation("inspect_environment", EffectReads,
			"Tell what an installed environment is made of.", (*Pyro).InspectEnvironment),
		operation("prune_environments", EffectDestroys,
			"Remove cached environments, downloads and templates that nothing uses.",
			(*Pyro).PruneEnvironments),
		operation("warm_environment", EffectMakes,
			"Boot an environment once and keep it frozen, so that VMs of this shape start warm.",
			(*Pyro).WarmEnvironment),
		operation("push_environment", EffectMakes,
			"Bring an installed environment into a registry, as an image.", (*Pyro).PushEnvironment),
		operation("remove_environment", EffectDestroys,
			"Forget an installed environment; its image goes with the next prune.",
			(*Pyro).RemoveEnvironment),
	}
}

// vmOperations are those on VMs.
func vmOperations() []Operation {
	return []Operation{
		operation("run_in_vm", EffectChanges,
			"Run one command in a fresh VM, which is gone afterwards.", (*Pyro).RunInVM),
		operation("create_vm", EffectMakes,
			"Create a VM that is not started yet.", (*Pyro).CreateVM),
		operation("start_vm", EffectMakes,
			"Start a VM; it is ready for exec_vm when this returns.", (*Pyro).StartVM),
		operation("exec_vm", EffectChanges,
			"Run one command in a started VM, which is removed afterwards.", (*Pyro).ExecVM),
		operation("stop_vm", EffectDestroys,
			"Stop a VM. What runs in it ends.", (*Pyro).StopVM),
		operation("delete_vm", EffectDestroys,
			"Delete a VM in any state.", (*Pyro).DeleteVM),
		operation("status_vm", EffectReads,
			"Give a VM's record.", (*Pyro).StatusVM),
		operation("network_info_vm", EffectReads,
			"Give the state of the network of a VM, or of a task.", (*Pyro).NetworkInfoVM),
		bare("list_vms", EffectReads,
			"List all VMs and tasks that there are.", (*Pyro).ListVMs),
		bare("reap_expired", EffectDestroys,
			"Remove the VMs and tasks that are past their TTL.", (*Pyro).ReapExpired),
	}
}

// taskOperations are those on tasks.
func taskOperations() []Operation {
	return []Operation{
		operation("create_task", EffectMakes,
			"Create and start a task, its workspace seeded from a directory or a tar archive.",
			(*Pyro).CreateTask),
		operation("exec_task", EffectChanges,
			"Run one command in a task, in /workspace; the task lives on.", (*Pyro).ExecTask),
		operation("status_task", EffectReads,
			"Give a task's record.", (*Pyro).StatusTask),
		operation("list_tasks", EffectReads,
			"List the tasks, oldest first: state, age, what runs in each.", (*Pyro).ListTasks),
		operation("logs_task", EffectReads,
			"Give a task's history.", (*Pyro).LogsTask),
		operation("extend_task", EffectMakes,
			"Begin a task's idle TTL anew, with another length if one is given.", (*Pyro).ExtendTask),
		operation("stop_task", EffectDestroys,
			"End a task's guest and keep its files; the next command starts it again.", (*Pyro).StopTask),
		operation("start_task", EffectMakes,
			"Start a stopped task.", (*Pyro).StartTask),
		operation("delete_task", EffectDestroys,
			"End a task and remove all that it kept.", (*Pyro).DeleteTask),
	}
}

// commandOperations are those on background commands, shells and services.
func commandOperations() []Operation {
	return []Operation{
		operation("start_command", EffectChanges,
			"Start a command in the background of a task; it goes on when the caller goes.",
			(*Pyro).StartCommand),
		operation("open_shell", EffectChanges,
			"Start a program on a terminal of a task; it goes on when the caller goes.", (*Pyro).OpenShell),
		operation("start_service", EffectChanges,
			"Start a service in a task, and wait until it is ready.", (*Pyro).StartService),
		operation("list_commands", EffectReads,
			"List a task's background commands, shells and services.", (*Pyro).ListCommands),
		operation("status_command", EffectReads,
			"Give the record of a background command.", (*Pyro).StatusCommand),
		operation("wait_command", EffectReads,
			"Wait for the end of a background command.", (*Pyro).WaitCommand),
		operation("read_command", EffectReads,
			"Read a background command's output from a cursor on.", (*Pyro).ReadCommand),
		operation("attach_command", EffectChanges,
			"Pass a background command's output on as it comes, and input to it.", (*Pyro).AttachCommand),
		operation("write_command", EffectChanges,
			"Send input to a background command.", (*Pyro).WriteCommand),
		operation("signal_command", EffectChanges,
			"Send a signal to a background command.", (*Pyro).SignalCommand),
		operation("resize_command", EffectMakes,
			"Tell the terminal of a background command its size.", (*Pyro).ResizeCommand),
		operation("stop_command", EffectDestroys,
			"End a background command, shell or service.", (*Pyro).StopCommand),
		operation("forward_port", EffectChanges,
			"Open a port of the host that leads to a server in a task.", (*Pyro).ForwardPort),
		operation("list_forwards", EffectReads,
			"List the ports of the host that lead into a task.", (*Pyro).ListForwards),
		operation("unforward_port", EffectDestroys,
			"Close a port of the host that leads into a task.", (*Pyro).UnforwardPort),
	}
}

// snapshotOperations are those on snapshots and forks.
func snapshotOperations() []Operation {
	return []Operation{
		operation("snapshot_task", EffectMakes,
			"Keep a task as it is at one moment: processes, memory and disk; it goes on.",
			(*Pyro).SnapshotTask),
		operation("fork_task", EffectMakes,
			"Make tasks that go on from where another is, or from a snapshot.", (*Pyro).ForkTask),
		operation("rollback_task", EffectDestroys,
			"Have a task go on from a snapshot; what it did since is lost.", (*Pyro).RollbackTask),
		operation("pause_task", EffectChanges,
			"Keep a task on disk, with its memory, until it is resumed; it takes no memory of the host.",
			(*Pyro).PauseTask),
		operation("commit_task", EffectMakes,
			"Make an installed environment of a task's disk.", (*Pyro).CommitTask),
		operation("resume_task", EffectChanges,
			"Have a paused task go on, and a stopped one start.", (*Pyro).ResumeTask),
		bare("list_snapshots", EffectReads,
			"List the snapshots of tasks, with what they take on disk.", (*Pyro).ListSnapshots),
		operation("inspect_snapshot", EffectReads,
			"Tell what a snapshot is of, and what it takes.", (*Pyro).InspectSnapshot),
		operation("delete_snapshot", EffectDestroys,
			"Remove a snapshot; tasks that were made from it go on.", (*Pyro).DeleteSnapshot),
	}
}

// OperationNamed finds an operation.
func OperationNamed(name string) (Operation, bool) {
	for _, o := range Operations() {
		if o.Name == name {
			return o, true
		}
	}
	return Operation{}, false
}

func fileOperations() []Operation {
	return []Operation{
		operation("read_file", EffectReads,
			"Read a part of a file of a task.", (*Pyro).ReadFile),
		operation("write_file", EffectChanges,
			"Make or replace a file of a task, whole or not at all.", (*Pyro).WriteFile),
		operation("list_files", EffectReads,
			"List what is in a directory of a task.", (*Pyro).ListFiles),
		operation("upload", EffectChanges,
			"Copy a file or a directory of the host into a task.", (*Pyro).Upload),
		operation("download", EffectMakes,
			"Copy a file or a directory of a task to the host.", (*Pyro).Download),
		operation("export_task", EffectMakes,
			"Copy all that a task changed over its environment to the host.", (*Pyro).ExportTask),
		operation("diff_task", EffectReads,
			"Tell what a task changed in its workspace since it was seeded: names, or a patch.",
			(*Pyro).DiffTask),
		operation("sync_task", EffectChanges,
			"Send into a task what changed since in the directory that it was seeded from.",
			(*Pyro).SyncTask),
		operation("patch_task", EffectChanges,
			"Apply a unified diff to files of a task, all of it or nothing.", (*Pyro).PatchTask),
	}
}
