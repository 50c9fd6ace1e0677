package hostcompat

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/pyro-mcp/pyro/internal/confine"
)

// Report says what is confined and what is not, what people ask about first.
type Report = confine.Report

// Line is one thing that may be confined.
type Line = confine.Line

// Probe tells what confinement this host gives, by starting a stand-in and running a command in it. A host
// that cannot even start one is told as one line, not confined.
func Probe(ctx context.Context) Report {
	dir, err := os.MkdirTemp("", "pyro-probe-")
	if err != nil {
		return Report{{Name: "commands on the host", Detail: confine.OneLine(err.Error())}}
	}
	defer os.RemoveAll(dir)
	who := confine.Identify()
	if err := makeDirs(dir, who); err != nil {
		return Report{{Name: "commands on the host", Detail: confine.OneLine(err.Error())}}
	}
	g, err := startShim(ctx, settings{Dir: dir, Hostname: userName}, who, modeCheck)
	if err != nil {
		return Report{{Name: "commands on the host", Detail: confine.OneLine(err.Error())}}
	}
	_ = g.Kill()
	return g.report
}

// report says what these namespaces and a first command's own confinement come to.
func report(l confine.Namespaces, k kept, refused map[confine.Namespace]error) Report {
	filtered := k.CallsErr == ""
	return Report{
		files(l, k),
		confine.Choose("network", l.Has(confine.Net), "a network namespace without a way out",
			filtered, "commands may open no network sockets", refused[confine.Net]),
		processes(l, k, refused),
		lifeTime(l),
		confine.Choose("shared memory", l.Has(confine.IPC), "an ipc namespace", filtered,
			"the system calls are refused", refused[confine.IPC]),
		confine.Choose("host name", l.Has(confine.UTS), "a uts namespace", filtered,
			"the system calls are refused", refused[confine.UTS]),
		confine.Choose("privileges", true, privileges(l), false, "", nil),
		confine.Choose("system calls", filtered, "a seccomp filter", false, "", textError(k.CallsErr)),
		{Name: "memory, cpu and disk", Detail: "they are the host's, without a limit"},
		{Name: "kernel", Detail: "it is the host's"},
	}
}

func files(l confine.Namespaces, k kept) Line {
	var by []string
	if l.Has(confine.Mount) {
		by = append(by, "a view of programs and the workspace alone")
	}
	if k.Landlock > 0 {
		by = append(by, fmt.Sprintf("Landlock version %d", k.Landlock))
	}
	line := Line{Name: "files", Confined: l.Has(confine.Mount) || k.Landlock >= confine.LandlockTruncates,
		Detail: strings.Join(by, " and ")}
	if len(by) == 0 {
		line.Detail = "all that the user may read or write is open: neither a mount namespace nor " +
			"Landlock is to be had"
	} else if !line.Confined {
		line.Detail += " lets files outside be emptied"
	}
	return line
}

func processes(l confine.Namespaces, k kept, refused map[confine.Namespace]error) Line {
	scoped := k.Landlock >= confine.LandlockScopes
	line := confine.Choose("processes", l.Has(confine.PID), "a pid namespace hides the host's", scoped,
		"Landlock hides the host's and keeps signals from them", refused[confine.PID])
	if !line.Confined && k.Landlock > 0 {
		line.Detail = "the host's are hidden by Landlock but can be sent signals"
	}
	return line
}

func lifeTime(l confine.Namespaces) Line {
	if l.Has(confine.PID) {
		return Line{Name: "life time", Confined: true, Detail: "a pid namespace ends all processes at once"}
	}
	return Line{
		Name:   "life time",
		Detail: "processes are found and ended one by one, without a pid namespace",
	}
}

func privileges(l confine.Namespaces) string {
	by := []string{"no new privileges", "no capabilities"}
	if l.Has(confine.User) {
		by = append(by, "a user namespace")
	}
	if confine.Identify().Other {
		by = slices.Insert(by, 0, fmt.Sprintf("user %d instead of root", confine.Nobody))
	}
	return strings.Join(by, ", ")
}

// textError is nil for no text.
func textError(text string) error {
	if text == "" {
		return nil
	}
	return fmt.Errorf("%s", text)
}
