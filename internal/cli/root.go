package cli

import (
	"fmt"
	"strings"

	"github.com/pyro-mcp/pyro"
	"github.com/pyro-mcp/pyro/internal/text"
	"github.com/spf13/cobra"
)

const exitCodes = `Exit status:
  0    done; for run and task exec: the command's own status
  1    pyro failed
  2    pyro was called in a wrong way
  124  the command ran into its timeout
  125  pyro failed, for run and task exec
  130  interrupted (143: terminated)`

// newRoot builds the tree of commands.
func newRoot(a *app) *cobra.Command {
	var version bool
	root := &cobra.Command{
		Use:   "pyro",
		Short: "Run commands in throw-away microVMs",
		Long: `pyro runs commands in microVMs: one thrown away after the command, or one kept as a task
whose workspace outlives each command. There is no daemon, and it needs no root.

` + exitCodes,
		Example: `  pyro run debian:12 -- git --version
  id=$(pyro task create debian:12 --source-path .)
  pyro task exec "$id" -- make test
  pyro task delete "$id"`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if version {
				fmt.Fprintln(a.stdout, "pyro "+a.version)
				return nil
			}
			return group(cmd, args)
		},
	}
	root.SetUsageFunc(usage)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return flagError(cmd, err) })
	flags := root.PersistentFlags()
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "no progress and no remarks on stderr, errors only")
	flags.Var(&choice{&a.accelerator, pyro.AcceleratorChoices()}, "accelerator",
		"how guests run: "+strings.Join(pyro.AcceleratorChoices(), ", ")+" ($PYRO_ACCELERATOR, else auto)")
	_ = root.RegisterFlagCompletionFunc("accelerator",
		cobra.FixedCompletions(pyro.AcceleratorChoices(), cobra.ShellCompDirectiveNoFileComp))
	root.Flags().BoolVar(&version, "version", false, "print the version and stop")
	root.AddCommand(newEnv(a), newRun(a), newTask(a), newSnapshot(a), newPS(a),
		shortcut("ls", newTaskList(a)), shortcut("rm", newTaskDelete(a)), shortcut("exec", newTaskExec(a)),
		shortcut("cp", newTaskCopy(a)),
		newMCP(a), newServe(a), newDoctor(a),
		newDemo(a), newVersion(a), newRPC(a))
	root.InitDefaultHelpFlag()
	a.completeFlags(root)
	return root
}

// parent makes a command that only holds others.
func parent(use, short, long, example string, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:     use,
		Short:   short,
		Long:    long,
		Example: example,
		Args:    cobra.ArbitraryArgs,
		RunE:    group,
	}
	cmd.AddCommand(children...)
	return cmd
}

// group answers a command that holds others and was called by itself.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var names []string
	for _, child := range cmd.Commands() {
		if child.IsAvailableCommand() && !isShortcut(child) {
			names = append(names, child.Name())
		}
	}
	err := &usageError{message: fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())}
	if near := text.Nearest(args[0], names); near != "" {
		err.hint = fmt.Sprintf("did you mean '%s %s'?", cmd.CommandPath(), near)
	}
	return err
}

// takesCommand tells whether a command of the guest's follows --.
func takesCommand(cmd *cobra.Command) bool { return strings.Contains(cmd.Use, "-- COMMAND") }

// flagError words a refused flag, with the nearest one that exists.
func flagError(cmd *cobra.Command, err error) error {
	out := &usageError{message: strings.TrimSpace(err.Error())}
	if hint := containerHint(cmd, out.message); hint != "" {
		out.hint = hint
		return out
	}
	if cmd.ArgsLenAtDash() < 0 && takesCommand(cmd) && len(cmd.Flags().Args()) > 1 {
		out.hint = "if that belongs to the command, put -- before the command"
		return out
	}
	if name, ok := strings.CutPrefix(out.message, "unknown flag: --"); ok {
		if near := text.Nearest(name, flagNames(cmd)); near != "" {
			out.hint = fmt.Sprintf("did you mean --%s?", near)
		}
	}
	return out
}
