package cli

import "github.com/spf13/cobra"

func newEnv(a *app) *cobra.Command {
	return parent("env", "List, pull, inspect, warm, push and prune environments",
		"An environment is a named, versioned Linux root file system plus the kernel it boots with.",
		"  pyro env list\n  pyro env pull debian:12\n  pyro env inspect debian:12 --json",
		newEnvList(a), newEnvPull(a), newEnvInspect(a), newEnvPrune(a), newEnvWarm(a), newEnvPush(a),
		newEnvRemove(a))
}
