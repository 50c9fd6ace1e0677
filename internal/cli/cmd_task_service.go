package cli

import (
	"io"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newTaskService(a *app) *cobra.Command {
	return parent("service", "Run servers in a task and see that they stay up",
		`A service is a background command that is to run on. 'start' waits until it is ready. Its output,
and its end, are those of a background command: see 'pyro task command --help'.`,
		`  pyro task service start "$id" web --ready-http 8000/ --restart -- python3 -m http.server 8000
  pyro task service list "$id"
  pyro task service logs "$id" web
  pyro task service stop "$id" web`,
		newServiceStart(a), newServiceList(a), newCommandLogs(a), newCommandStatus(a), newCommandStop(a))
}

func newServiceStart(a *app) *cobra.Command {
	var r pyro.StartServiceRequest
	limit := &duration{value: 60}
	var secrets []string
	cmd := &cobra.Command{
		Use:   "start ID NAME -- COMMAND [ARGUMENT...]",
		Short: "Start a service and wait until it is ready",
		Long: `Starts a service and waits until it is ready, which at most one of the --ready flags tells. Without
one it is ready once it runs. One that is not ready in time is ended, and has failed: the exit
status is then 1.`,
		Example:           `  pyro task service start "$id" web --ready-tcp 8000 -- python3 -m http.server 8000`,
		Args:              namesAndCommand("ID", "NAME"),
		ValidArgsFunction: a.completeTask(true),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			r.TaskID, r.Name, r.Argv, r.ReadySeconds = args[0], args[1], args[2:], limit.value
			if r.Secrets, err = secretsOf(secrets); err != nil {
				return err
			}
			c, err := with(a, func(p *pyro.Pyro) (pyro.Command, error) {
				c, err := p.StartService(cmd.Context(), r)
				return c, knownTask(cmd.Context(), p, args[0], err)
			})
			if err := a.printCommand(c, err); err != nil {
				return err
			}
			if c.State != "ready" && !(c.State == "exited" && c.ExitCode != nil && *c.ExitCode == 0) {
				return exitStatus(exitFailure)
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&r.ReadyHTTP, "ready-http", "",
		"it is ready when `PORT[/PATH]` answers with a status below 400")
	flags.IntVar(&r.ReadyTCP, "ready-tcp", 0, "it is ready when somebody listens on `PORT`")
	flags.StringVar(&r.ReadyFile, "ready-file", "", "it is ready when `FILE` is there")
	flags.StringVar(&r.ReadyLog, "ready-log", "", "it is ready when a line of its output matches `PATTERN`")
	flags.StringVar(&r.ReadyCommand, "ready-command", "", "it is ready when this `COMMAND` line ends with 0")
	flags.Var(limit, "ready-seconds", "how long it may take to be ready")
	flags.BoolVar(&r.Restart, "restart", false, "start it again if it fails, each time a little later")
	flags.IntVar(&r.MaxRestarts, "max-restarts", 0, "how often in a row at most; 0 is no bound")
	flags.BoolVar(&r.Resume, "resume", false, "start it again when the task is started again")
	addSecrets(cmd, &secrets)
	a.jsonFlag(cmd)
	return cmd
}

func newServiceList(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "list ID",
		Short:             "List a task's services",
		Example:           `  pyro task service list "$id"`,
		Args:              exactly("ID"),
		ValidArgsFunction: a.completeTask(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			result, err := with(a, func(p *pyro.Pyro) (pyro.ListCommandsResult, error) {
				result, err := p.ListCommands(cmd.Context(), pyro.TaskRequest{TaskID: args[0]})
				return result, knownTask(cmd.Context(), p, args[0], err)
			})
			if err != nil {
				return err
			}
			services := []pyro.Command{}
			for _, c := range result.Commands {
				if c.Kind == "service" {
					services = append(services, c)
				}
			}
			result.Commands = services
			return a.print(result, func(w io.Writer) { commandTable(w, services) })
		},
	}
	a.jsonFlag(cmd)
	return cmd
}
