package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"

	"github.com/pyro-mcp/pyro/internal/e2b"
	"github.com/spf13/cobra"
)

func newServe(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve other programs' interfaces",
		Long:  "Serves the interfaces that other programs are written for. MCP has its own: pyro mcp serve.",
		Args:  exactly(),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newServeE2B(a))
	return cmd
}

// e2bFlags are what pyro serve e2b can be told.
type e2bFlags struct {
	listen, key, domain, template string
	remote, network               bool
	allow                         []string
}

func newServeE2B(a *app) *cobra.Command {
	var f e2bFlags
	cmd := &cobra.Command{
		Use:   "e2b",
		Short: "Serve sandboxes to the SDKs of E2B",
		Long: `Serves the interface that the SDKs of E2B and what is built on them speak, from this machine: a
sandbox is a task, and a template is an environment. Clients find it by E2B_API_URL and
E2B_SANDBOX_URL, which are printed on stderr with the API key. Sandboxes have no network unless
--allow-network or --allow is given.`,
		Example: `  pyro serve e2b
  E2B_API_KEY=... pyro serve e2b --listen 127.0.0.1:3000 --allow pypi.org`,
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return a.serveE2B(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:3000", "serve on this `ADDRESS:PORT`")
	flags.BoolVar(&f.remote, "allow-remote", false, "let --listen be an address beyond this machine")
	flags.StringVar(&f.key, "key", "",
		"API `KEY` of clients ($E2B_API_KEY, which others cannot see; else a new one)")
	flags.StringVar(&f.domain, "domain", "",
		"end of the host `NAME`s by which sandboxes' ports are reached (default: the address listened on)")
	flags.StringVar(&f.template, "template", "debian:12", "`ENVIRONMENT` of the template \"base\"")
	flags.BoolVar(&f.network, "allow-network", false, "let sandboxes reach the public internet")
	flags.StringArrayVar(&f.allow, "allow", nil, "let sandboxes reach this `HOST` and no others (repeatable)")
	_ = cmd.RegisterFlagCompletionFunc("template", a.completeEnvironment(false))
	return cmd
}

func (a *app) serveE2B(ctx context.Context, f e2bFlags) error {
	key := f.key
	if key == "" {
		key = os.Getenv("E2B_API_KEY")
	}
	if key == "" {
		key = "e2b_" + strings.ToLower(rand.Text())
	}
	listener, err := listen("--listen", f.listen, "--allow-remote", f.remote)
	if err != nil {
		return err
	}
	defer listener.Close()
	p, err := a.engine()
	if err != nil {
		return err
	}
	defer p.Close()
	server, err := e2b.New(p, e2b.Options{
		Key:      key,
		Domain:   f.domain,
		Template: f.template,
		Network:  f.network || len(f.allow) > 0,
		Allow:    f.allow,
		Log:      p.Options().Logger,
	})
	if err != nil {
		return err
	}
	url := "http://" + listener.Addr().String()
	fmt.Fprintf(a.stderr, "serving sandboxes at %s; clients want this in their environment:\n", url)
	fmt.Fprintf(a.stderr, "E2B_API_URL=%s E2B_SANDBOX_URL=%s E2B_API_KEY=%s\n", url, url, key)
	return server.Serve(ctx, listener)
}
