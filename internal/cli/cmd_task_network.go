package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

func newTaskNetwork(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "network ID",
		Short:             "Show a task's network: address, policy, counters, published ports",
		Example:           "  pyro task network \"$id\"",
		Args:              exactly("ID"),
		ValidArgsFunction: a.completeTask(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			info, err := with(a, func(p *pyro.Pyro) (pyro.NetworkInfo, error) {
				info, err := p.NetworkInfoVM(cmd.Context(), pyro.VMRequest{VMID: args[0]})
				return info, knownTask(cmd.Context(), p, args[0], err)
			})
			if err != nil {
				return err
			}
			return a.print(info, func(w io.Writer) { writeNetwork(w, info) })
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func writeNetwork(w io.Writer, n pyro.NetworkInfo) {
	if !n.Enabled {
		fmt.Fprintf(w, "%s has no network\n", n.VMID)
		return
	}
	count := func(n int64) string { return strconv.FormatInt(n, 10) }
	rows := [][]string{{"address", n.GuestAddress}, {"gateway", n.Gateway}, {"DNS", n.DNS}, {"MAC", n.MAC}}
	if n.Policy != nil {
		rows = append(rows, []string{"policy",
			strings.TrimSpace(n.Policy.Mode + " " + strings.Join(n.Policy.Allow, " "))})
	}
	rows = append(rows,
		[]string{"received", size(n.Counters.BytesIn)}, []string{"sent", size(n.Counters.BytesOut)},
		[]string{"connections allowed", count(n.Counters.ConnectionsAllowed)},
		[]string{"connections refused", count(n.Counters.ConnectionsRefused)})
	for _, p := range n.Published {
		rows = append(rows, []string{"published",
			fmt.Sprintf("%s:%d to port %d", p.HostIP, p.HostPort, p.GuestPort)})
	}
	table(w, rows...)
	if len(n.Decisions) > 0 {
		fmt.Fprintln(w)
	}
	for _, d := range n.Decisions {
		verdict := "allowed"
		if !d.Allowed {
			verdict = "refused"
		}
		fmt.Fprintln(w, oneLine(strings.Join(
			strings.Fields(strings.Join([]string{d.Time.Local().Format(time.DateTime), verdict,
				d.Protocol, d.Destination, d.Name, "(" + d.Reason + ")"}, " ")), " ")))
	}
}
