package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// shortcutMark marks a command that is one of task's by a shorter name.
const shortcutMark = "is a shortcut"

// shortcut is a command of task's by the name that a user of containers types.
func shortcut(name string, cmd *cobra.Command) *cobra.Command {
	long := "pyro task " + cmd.Name()
	_, arguments, _ := strings.Cut(cmd.Use, " ")
	cmd.Use = strings.TrimSpace(name + " " + arguments)
	cmd.Example = strings.ReplaceAll(cmd.Example, long, "pyro "+name)
	cmd.Aliases, cmd.Short = nil, "Short for '"+long+"'"
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[shortcutMark] = ""
	return cmd
}

func isShortcut(cmd *cobra.Command) bool {
	_, ok := cmd.Annotations[shortcutMark]
	return ok
}

// containerFlag adds a flag by the name that a user of containers types. The help has its own name.
func containerFlag(cmd *cobra.Command, value pflag.Value, name, own string) {
	flag := cmd.Flags().VarPF(value, name, "", "the same as --"+own)
	flag.Hidden = true
}

// granted adds a flag that asks for what is so anyway.
func granted(cmd *cobra.Command, name, shorthand string) {
	flag := cmd.Flags().VarPF(new(ignored), name, shorthand, "it is so anyway")
	flag.NoOptDefVal, flag.Hidden = "true", true
}

// ignored is the value of a flag that changes nothing.
type ignored struct{}

// Set takes anything.
func (*ignored) Set(string) error { return nil }
func (*ignored) String() string   { return "" }
func (*ignored) Type() string     { return "bool" }

// containerHints say what to do in place of what a flag asks for in tools for containers.
func containerHints() []struct {
	flags, commands []string
	hint            string
} {
	return []struct {
		flags, commands []string
		hint            string
	}{
		{
			[]string{"v", "volume", "mount"},
			[]string{"pyro run", "pyro task create", "pyro task exec", "pyro exec"},
			"nothing of the host is mounted in a guest: --source-path copies a directory in, " +
				"'pyro task cp' both ways",
		},
		{
			[]string{"p", "publish"}, []string{"pyro run"},
			"a run opens no port on the host: use 'pyro task create --publish' or 'pyro task forward'",
		},
		{
			[]string{"d", "detach"}, []string{"pyro run"},
			"a run ends with its caller: use 'pyro task create' and 'pyro task exec --detach'",
		},
		{
			[]string{"name"}, []string{"pyro run"},
			"a run is gone when its command ends: use 'pyro task create --name'",
		},
		{
			[]string{"rm"}, []string{"pyro task create"},
			"a task stays until it is deleted or idle for its TTL: use 'pyro run', or --ttl-seconds",
		},
	}
}

// containerHint is the hint about an unknown flag that tools for containers have, "" if it is none.
func containerHint(cmd *cobra.Command, message string) string {
	name, ok := strings.CutPrefix(message, "unknown flag: --")
	if !ok {
		if name, ok = strings.CutPrefix(message, "unknown shorthand flag: '"); !ok {
			return ""
		}
		name, _, _ = strings.Cut(name, "'")
	}
	for _, h := range containerHints() {
		if slices.Contains(h.flags, name) && slices.Contains(h.commands, cmd.CommandPath()) {
			return h.hint
		}
	}
	return ""
}
