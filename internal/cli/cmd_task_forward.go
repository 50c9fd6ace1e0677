package cli

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newTaskForward(a *app) *cobra.Command {
	var detach bool
	cmd := &cobra.Command{
		Use:   "forward ID [HOST:]PORT:GUEST_PORT[/udp]",
		Short: "Lead a port of this host to a server in a running task",
		Long: `Opens a port of this host, on 127.0.0.1 unless HOST says otherwise, that leads to a server in the
task, on whichever of the guest's addresses it listens. The task needs no network for it. PORT 0 is
one that is free. The port is closed when this command ends; with --detach it stays until
'task unforward', or the task's end. Without a port: what is forwarded.`,
		Example: "  pyro task forward \"$id\" 8080:80\n" +
			"  pyro task forward --detach \"$id\" 0:8000",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return nil
			}
			return exactly("ID", "PORT")(cmd, args)
		},
		ValidArgsFunction: a.completeTask(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.engine()
			if err != nil {
				return err
			}
			defer p.Close()
			if len(args) == 1 {
				return a.listForwards(cmd, p, args[0])
			}
			r, err := parseForward(args[1])
			if err != nil {
				return usagef("%s: %v", cmd.CommandPath(), err)
			}
			r.TaskID = args[0]
			var failed error
			if !detach {
				r.Opened = func(f pyro.ForwardedPort) { failed = a.printForward(f) }
			}
			f, err := p.ForwardPort(cmd.Context(), r)
			if err = knownTask(cmd.Context(), p, args[0], err); err != nil || failed != nil {
				return errors.Join(err, failed)
			}
			return a.printForward(f)
		},
	}
	cmd.Flags().BoolVarP(&detach, "detach", "d", false, "leave the port open when this command ends")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) printForward(f pyro.ForwardedPort) error {
	return a.print(f, func(w io.Writer) { fmt.Fprintln(w, hostAddress(f)) })
}

func hostAddress(f pyro.ForwardedPort) string {
	at := net.JoinHostPort(f.HostIP, strconv.Itoa(f.HostPort))
	if f.UDP {
		at += "/udp"
	}
	return at
}

func (a *app) listForwards(cmd *cobra.Command, p *pyro.Pyro, id string) error {
	list, err := p.ListForwards(cmd.Context(), pyro.TaskRequest{TaskID: id})
	if err = knownTask(cmd.Context(), p, id, err); err != nil {
		return err
	}
	return a.print(list, func(w io.Writer) {
		rows := [][]string{{"HOST", "GUEST PORT", "STAYS", "CONNECTIONS"}}
		for _, f := range list.Forwards {
			rows = append(rows, []string{hostAddress(f), strconv.Itoa(f.GuestPort),
				strconv.FormatBool(f.Stays), strconv.Itoa(f.Connections)})
		}
		table(w, rows...)
	})
}

// parseForward reads [HOST:]PORT:GUEST_PORT[/udp].
func parseForward(text string) (pyro.ForwardPortRequest, error) {
	var r pyro.ForwardPortRequest
	ports, protocol, _ := strings.Cut(text, "/")
	if protocol != "" && protocol != "udp" && protocol != "tcp" {
		return r, fmt.Errorf("%q is neither tcp nor udp", protocol)
	}
	r.UDP = protocol == "udp"
	rest, guest, ok := cutLast(ports)
	if !ok {
		return r, fmt.Errorf("%q is not [HOST:]PORT:GUEST_PORT", text)
	}
	host, port, ok := cutLast(rest)
	if !ok {
		host, port = "", rest
	}
	r.HostIP = strings.Trim(host, "[]")
	var err1, err2 error
	r.HostPort, err1 = strconv.Atoi(port)
	r.GuestPort, err2 = strconv.Atoi(guest)
	if err1 != nil || err2 != nil {
		return r, fmt.Errorf("%q is not [HOST:]PORT:GUEST_PORT", text)
	}
	return r, nil
}

func cutLast(s string) (before, after string, found bool) {
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return "", s, false
}

func newTaskUnforward(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "unforward ID [HOST:]PORT[/udp]",
		Short:             "Close a port of this host that leads into a task",
		Example:           `  pyro task unforward "$id" 8080`,
		Args:              exactly("ID", "PORT"),
		ValidArgsFunction: a.completeTask(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			ports, protocol, _ := strings.Cut(args[1], "/")
			f, err := parseForward(ports + ":1/" + protocol)
			if err != nil {
				return usagef("%s: %q is not [HOST:]PORT", cmd.CommandPath(), args[1])
			}
			closed, err := with(a, func(p *pyro.Pyro) (pyro.ForwardedPort, error) {
				closed, err := p.UnforwardPort(cmd.Context(), pyro.UnforwardPortRequest{
					TaskID:   args[0],
					HostIP:   f.HostIP,
					HostPort: f.HostPort,
					UDP:      f.UDP,
				})
				return closed, knownTask(cmd.Context(), p, args[0], err)
			})
			if err != nil {
				return err
			}
			return a.print(closed, func(w io.Writer) { fmt.Fprintln(w, "closed "+hostAddress(closed)) })
		},
	}
	a.jsonFlag(cmd)
	return cmd
}
