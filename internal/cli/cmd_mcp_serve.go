package cli

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/pyro-mcp/pyro"
	"github.com/pyro-mcp/pyro/mcpserver"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// serveFlags are what pyro mcp serve can be told.
type serveFlags struct {
	profile, http, token string
	remote               bool
	hosts                []string
	pool                 number
	allow                mcpserver.Policy
	network              []string
}

func newMCPServe(a *app) *cobra.Command {
	f := serveFlags{profile: string(mcpserver.ProfileFull), pool: number{0, 0}}
	var profiles []string
	for _, p := range mcpserver.Profiles() {
		profiles = append(profiles, string(p))
	}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve MCP over stdio, or over HTTP",
		Long: `Serves the tools over stdio, or with --http over streamable HTTP at ` + mcpserver.Path + `.
Over HTTP each request needs the bearer token, which is printed on stderr if none is given, and
the address must be a loopback one unless --http-allow-remote is given. VMs that a session made end
with it; tasks live on.

What reaches beyond a VM is denied to the model unless a flag allows it. A workspace may come from
the directories that the client declares as its roots, or from those of --source-root if given.`,
		Example: `  pyro mcp serve
  pyro mcp serve --profile vm-run
  pyro mcp serve --source-root ~/src --allow-network=pypi.org --allow-network=files.pythonhosted.org
  PYRO_MCP_TOKEN=... pyro mcp serve --http 127.0.0.1:8765`,
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return a.serve(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.Var(&choice{&f.profile, profiles}, "profile", "tools to offer: vm-run, core, task or full")
	flags.StringVar(&f.http, "http", "", "serve HTTP on this `ADDRESS:PORT` in place of stdio")
	flags.StringVar(&f.token, "token", "",
		"bearer `TOKEN` for HTTP ($PYRO_MCP_TOKEN, which others cannot see; else a new one)")
	flags.BoolVar(&f.remote, "http-allow-remote", false, "let --http listen beyond this machine")
	flags.StringArrayVar(&f.hosts, "http-host", nil,
		"a `NAME` by which HTTP clients may call this server (repeatable)")
	flags.Var(&f.pool, "pool", "booted VMs to keep ready for vm_run")
	f.allowing(flags)
	_ = cmd.RegisterFlagCompletionFunc("profile",
		cobra.FixedCompletions(profiles, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) serve(ctx context.Context, f serveFlags) error {
	if f.http == "" && (f.token != "" || f.remote || len(f.hosts) > 0) {
		return usagef("--token, --http-allow-remote and --http-host go with --http")
	}
	var listener net.Listener
	if f.http != "" {
		var err error
		if listener, err = listen("--http", f.http, "--http-allow-remote", f.remote); err != nil {
			return err
		}
		defer listener.Close()
	}
	// A client that goes away must not take us with it before its VMs are removed.
	signal.Ignore(syscall.SIGPIPE)
	policy, err := f.policy()
	if err != nil {
		return err
	}
	p, err := a.engine(pyro.WithPool(f.pool.value))
	if err != nil {
		return err
	}
	defer p.Close()
	server := mcpserver.CreateServer(p,
		mcpserver.Options{Profile: mcpserver.Profile(f.profile), Version: a.version, Policy: policy})
	if listener == nil {
		return server.ServeStdio(ctx, a.stdin, a.stdout)
	}
	token := f.bearer()
	fmt.Fprintf(a.stderr, "serving MCP at http://%s%s\n", listener.Addr(), mcpserver.Path)
	if token.made {
		fmt.Fprintf(a.stderr, "bearer token: %s\n", token.text)
	}
	return server.ServeHTTP(ctx, listener, mcpserver.HTTPOptions{Token: token.text, Hosts: f.hosts})
}

// anyHost is what --allow-network means without a host.
const anyHost = "*"

// allowing adds the flags by which a person allows a model to reach beyond VMs.
func (f *serveFlags) allowing(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.allow.SourceRoots, "source-root", nil,
		"let workspaces and images come from below this `DIR` of the host (repeatable)")
	flags.StringArrayVar(&f.network, "allow-network", nil,
		"let guests reach the public internet, or with =`HOST[:PORT]` that alone (repeatable)")
	flags.Lookup("allow-network").NoOptDefVal = anyHost
	flags.BoolVar(&f.allow.Publish, "allow-publish", false,
		"let tasks open ports on the host's loopback addresses")
	flags.StringArrayVar(&f.allow.Registries, "allow-registry", nil,
		"let images be pulled from the registry `HOST`, with your credentials for it (repeatable)")
	flags.BoolVar(&f.allow.HostCompat, "allow-host-compat", false,
		"let commands run on the host, confined, if no guest can be had")
}

// policy is what the flags allow.
func (f serveFlags) policy() (mcpserver.Policy, error) {
	p := f.allow
	p.Network = len(f.network) > 0
	switch every := slices.Contains(f.network, anyHost); {
	case every && len(f.network) > 1:
		return p, usagef("--allow-network goes with hosts or without, not both")
	case !every:
		p.Hosts = f.network
	}
	if err := p.Check(); err != nil {
		return p, usagef("%v", err)
	}
	return p, nil
}

// listen opens the address that a flag names, which must be a loopback one unless another flag says
// otherwise.
func listen(flag, address, remoteFlag string, remote bool) (net.Listener, error) {
	at, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, usagef("%s wants ADDRESS:PORT: %v", flag, err)
	}
	if !remote && !at.IP.IsLoopback() {
		return nil, &usageError{message: fmt.Sprintf("%q can be reached from other machines", address),
			hint: "use 127.0.0.1:PORT, or add " + remoteFlag}
	}
	listener, err := net.ListenTCP("tcp", at)
	if err != nil {
		return nil, fmt.Errorf("cannot serve on %q: %w", address, err)
	}
	return listener, nil
}

// bearerToken is the token of an HTTP server, and whether we made it.
type bearerToken struct {
	text string
	made bool
}

func (f serveFlags) bearer() bearerToken {
	if f.token != "" {
		return bearerToken{text: f.token}
	}
	if text := os.Getenv("PYRO_MCP_TOKEN"); text != "" {
		return bearerToken{text: text}
	}
	return bearerToken{text: mcpserver.NewToken(), made: true}
}
