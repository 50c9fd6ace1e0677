package mcpserver

//lint:file-ignore SA1019 Roots are on their way out, and what the clients of today have.

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/pyro-mcp/pyro"
)

// Policy is what a model may reach beyond a VM, which nobody watches it do. The zero value is nothing but the
// files that its client declares as roots.
type Policy struct {
	// SourceRoots are directories of the host that a workspace or an image may come from. nil is the roots
	// that the client declares in its session; an empty list is none.
	SourceRoots []string
	// Network lets guests have one, to reach the public internet or what Hosts lists, as the rules of an
	// allow-list.
	Network bool
	// Hosts narrows the network, and is the only way to an address that is not public.
	Hosts []string
	// Publish lets tasks open ports on the host's loopback addresses.
	Publish bool
	// Registries are hosts of registries that images may be pulled from.
	Registries []string
	// HostCompat lets commands run on the host itself if no guest can be had.
	HostCompat bool
}

// The flags of the command that starts a server, by which a person allows more.
const (
	flagSourceRoot = "--source-root"
	flagNetwork    = "--allow-network"
	flagPublish    = "--allow-publish"
	flagRegistry   = "--allow-registry"
	flagHostCompat = "--allow-host-compat"
)

// denial says that a model asked for what only a person can allow.
type denial struct{ what, flag string }

func (d *denial) Error() string {
	return fmt.Sprintf("%s is not allowed here. Only the user can allow it, by starting the server with "+
		"`pyro mcp serve %s`. Do without it, or ask the user", d.what, d.flag)
}

// Check says whether a policy makes sense.
func (p Policy) Check() error {
	for _, root := range p.SourceRoots {
		if _, err := filepath.EvalSymlinks(root); err != nil {
			return fmt.Errorf("cannot take a workspace from %q: %w", root, err)
		}
	}
	for _, host := range p.Hosts {
		if _, err := pyro.WithinAllow(nil, host); err != nil {
			return err
		}
	}
	return nil
}

// withheld tells which parameters are not shown to a model, and by which flags they would be.
func (p Policy) withheld() map[string]string {
	hidden := map[string]string{}
	hide := func(flag string, allowed bool, names ...string) {
		for _, name := range names {
			if !allowed {
				hidden[name] = flag
			}
		}
	}
	hide(flagSourceRoot+" DIR", p.SourceRoots == nil || len(p.SourceRoots) > 0, "source_path")
	hide(flagNetwork, p.Network, "network", "allow", "host_ca")
	// A model asks for a host's port by a rule of the allow-list, which is judged. What the host trusts a
	// guest with a network trusts anyhow.
	hide(flagNetwork+"=host.pyro.internal:PORT", false, "allow_host")
	hide(flagNetwork, false, "ca_file")
	hide(flagPublish, p.Publish, "publish")
	hide(flagHostCompat, p.HostCompat, "allow_host_compat")
	return hidden
}

// strip takes away arguments that are not shown and ask for nothing, and refuses those that ask for
// something.
func strip(arguments map[string]any, hidden map[string]string) error {
	for name, flag := range hidden {
		value, given := arguments[name]
		if !given {
			continue
		}
		switch v := value.(type) {
		case nil:
		case bool:
			given = v
		case string:
			given = v != ""
		case []any:
			given = len(v) > 0
		}
		if given && value != nil {
			return &denial{what: name, flag: flag}
		}
		delete(arguments, name)
	}
	return nil
}

// admit checks the values of arguments that are shown, and narrows them to what is allowed.
func (b *toolbox) admit(ctx context.Context, roots []string, arguments map[string]any) error {
	p := b.options.Policy
	if err := p.admitNetwork(arguments); err != nil {
		return err
	}
	for _, word := range words(arguments["publish"]) {
		if at := strings.Split(word, ":"); len(at) > 2 && !isLoopback(strings.Join(at[:len(at)-2], ":")) {
			return &pyro.Error{Kind: pyro.ErrInvalid, Message: fmt.Sprintf(
				"cannot publish %q: ports are opened on 127.0.0.1 alone here, leave the address out", word)}
		}
	}
	if path, _ := arguments["source_path"].(string); path != "" {
		real, err := below(roots, path)
		if err != nil {
			return err
		}
		arguments["source_path"] = real
	}
	environment, _ := arguments["environment"].(string)
	return b.admitEnvironment(ctx, roots, environment, arguments)
}

// admitNetwork judges an allow-list, and makes one if only some hosts may be reached.
func (p Policy) admitNetwork(arguments map[string]any) error {
	rules := words(arguments["allow"])
	for _, rule := range rules {
		ok, err := pyro.WithinAllow(p.Hosts, rule)
		if err != nil {
			return &pyro.Error{Kind: pyro.ErrInvalid, Message: err.Error()}
		}
		if !ok {
			return &denial{
				what: fmt.Sprintf("a network that reaches %q", rule),
				flag: flagNetwork + "=" + rule,
			}
		}
	}
	if wanted, _ := arguments["network"].(bool); wanted && len(rules) == 0 && len(p.Hosts) > 0 {
		arguments["allow"] = slices.Clone(p.Hosts)
	}
	return nil
}

// admitEnvironment judges where an image would come from, if it has to be fetched.
func (b *toolbox) admitEnvironment(
	ctx context.Context, roots []string, name string, arguments map[string]any,
) error {
	if _, err := b.engine.InspectEnvironment(ctx, pyro.EnvironmentRequest{Environment: name}); err == nil {
		return nil // the user has installed it
	}
	for _, scheme := range localSchemes {
		path, local := strings.CutPrefix(name, scheme)
		if !local {
			continue
		}
		file, image, _ := strings.Cut(path, ":")
		real, err := below(roots, file)
		if err == nil {
			arguments["environment"] = strings.TrimSuffix(scheme+real+":"+image, ":")
		}
		return err
	}
	host, _, remote := strings.Cut(name, "/")
	listed := func(r string) bool { return registryName(r) == registryName(host) }
	if !remote || slices.ContainsFunc(b.options.Policy.Registries, listed) {
		return nil
	}
	return &denial{what: fmt.Sprintf("the registry %q", host), flag: flagRegistry + " " + host}
}

// registryName is the one name of a registry: that of Docker Hub is not that of its host.
func registryName(host string) string {
	host = strings.ToLower(host)
	if host == "index.docker.io" || host == "registry-1.docker.io" {
		return "docker.io"
	}
	return host
}

// localSchemes begin the names of images in the host's files.
var localSchemes = []string{"oci:", "oci-archive:", "docker-archive:"}

// below gives the path, without symbolic links, of a file or directory that lies below one of the roots.
func below(roots []string, path string) (string, error) {
	refused := &denial{
		what: fmt.Sprintf("to read %q of the user's files", path),
		flag: flagSourceRoot + " DIR",
	}
	if len(roots) == 0 {
		return "", refused
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(roots[0], path)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		real = filepath.Clean(path) // whether it is there is told only within the roots
	}
	for _, root := range roots {
		if root, failed := filepath.EvalSymlinks(root); failed == nil && isBelow(root, real) {
			if err != nil {
				return "", &pyro.Error{Kind: pyro.ErrBadSeed, Message: fmt.Sprintf("cannot read %q", path)}
			}
			return real, nil
		}
	}
	return "", refused
}

func isBelow(root, path string) bool {
	relative, err := filepath.Rel(root, path)
	return err == nil && filepath.IsLocal(relative)
}

// rootsKey is what the client's roots are asked for by.
const rootsKey = "roots"

// roots are the directories that a call may read below. ask tells that the client has to be asked for them
// first.
func (b *toolbox) roots(r *mcp.CallToolRequest, arguments map[string]any) (roots []string, ask bool) {
	path, _ := arguments["source_path"].(string)
	environment, _ := arguments["environment"].(string)
	local := func(scheme string) bool { return strings.HasPrefix(environment, scheme) }
	if b.options.Policy.SourceRoots != nil || path == "" && !slices.ContainsFunc(localSchemes, local) {
		return b.options.Policy.SourceRoots, false
	}
	init := r.Session.InitializeParams()
	if init == nil || init.Capabilities == nil || init.Capabilities.RootsV2 == nil {
		return nil, false
	}
	response, answered := r.Params.InputResponses[rootsKey]
	list, _ := response.(*mcp.ListRootsResult)
	if list == nil {
		return nil, !answered
	}
	for _, root := range list.Roots {
		at, err := url.Parse(root.URI)
		if err == nil && at.Scheme == "file" && (at.Host == "" || at.Host == "localhost") &&
			filepath.IsAbs(at.Path) {
			roots = append(roots, at.Path)
		}
	}
	return roots, false
}

func isLoopback(host string) bool {
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}

// words are the strings of a list.
func words(value any) (list []string) {
	items, _ := value.([]any)
	for _, item := range items {
		if word, ok := item.(string); ok {
			list = append(list, word)
		}
	}
	return list
}
