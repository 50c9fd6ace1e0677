package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// completionLimit bounds what a press of the tabulator may wait for.
const completionLimit = 2 * time.Second

type completion = func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective)

// completeFlags completes each flag that is called as a parameter is by what the engine knows of that.
func (a *app) completeFlags(cmd *cobra.Command) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		p := pyro.ParameterNamed(strings.ReplaceAll(f.Name, "-", "_"))
		if offer := a.completeParameter(p); offer != nil {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, offer)
		}
	})
	for _, child := range cmd.Commands() {
		a.completeFlags(child)
	}
}

// completeParameter offers what a parameter may be, nil if anything may follow. Arguments before a flag say
// nothing of it.
func (a *app) completeParameter(p pyro.Parameter) completion {
	var offer completion
	switch {
	case len(p.Words) > 0:
		return cobra.FixedCompletions(p.Words, cobra.ShellCompDirectiveNoFileComp)
	case p.Names == pyro.NamesEnvironments:
		offer = a.completeEnvironment(false)
	case p.Names == pyro.NamesTasks:
		offer = a.completeTask(false)
	case p.Names == pyro.NamesSnapshots:
		offer = a.completeSnapshot()
	default:
		return nil
	}
	return func(cmd *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return offer(cmd, nil, word)
	}
}

// completeEnvironment offers the names of environments; what follows the name are the guest's own words.
func (a *app) completeEnvironment(command bool) completion {
	return a.complete(command, func(ctx context.Context, p *pyro.Pyro) []cobra.Completion {
		list, err := p.ListEnvironments(ctx)
		if err != nil {
			return nil
		}
		var names []cobra.Completion
		for _, e := range list.Environments {
			names = append(names, cobra.CompletionWithDesc(e.Name, e.Description))
		}
		return names
	})
}

// completeTask offers the ids and names of tasks.
func (a *app) completeTask(command bool) completion {
	return a.complete(command, func(ctx context.Context, p *pyro.Pyro) []cobra.Completion {
		list, err := p.ListVMs(ctx)
		if err != nil {
			return nil
		}
		var ids []cobra.Completion
		for _, t := range list.Tasks {
			ids = append(ids, cobra.CompletionWithDesc(t.TaskID, t.Environment+", "+t.State))
			if t.Name != "" {
				ids = append(ids, cobra.CompletionWithDesc(t.Name, t.TaskID))
			}
		}
		return ids
	})
}

// completeSnapshot offers the names of snapshots, or the ids of those without.
func (a *app) completeSnapshot() completion {
	return a.complete(false, func(ctx context.Context, p *pyro.Pyro) []cobra.Completion {
		list, err := p.ListSnapshots(ctx)
		if err != nil {
			return nil
		}
		var words []cobra.Completion
		for _, s := range list.Snapshots {
			word := s.Name
			if word == "" {
				word = s.SnapshotID
			}
			words = append(words, cobra.CompletionWithDesc(word, "of "+s.TaskID))
		}
		return words
	})
}

// completeTasks offers the ids of tasks again and again.
func (a *app) completeTasks() completion {
	one := a.completeTask(false)
	return func(cmd *cobra.Command, given []string, word string) ([]cobra.Completion,
		cobra.ShellCompDirective) {
		offered, directive := one(cmd, nil, word)
		return slices.DeleteFunc(offered, func(c cobra.Completion) bool {
			id, _, _ := strings.Cut(c, "\t")
			return slices.Contains(given, id)
		}), directive
	}
}

func (a *app) complete(command bool, offer func(context.Context, *pyro.Pyro) []cobra.Completion) completion {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			if command && len(args) == 1 {
				return []cobra.Completion{"--"}, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionLimit)
		defer cancel()
		p, err := a.engine()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer p.Close()
		return offer(ctx, p), cobra.ShellCompDirectiveNoFileComp
	}
}
