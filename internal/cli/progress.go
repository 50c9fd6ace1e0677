package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/pyro-mcp/pyro"
	"golang.org/x/term"
)

// progress shows a pull on stderr: on a terminal one line that is rewritten, else a line for each phase.
type progress struct {
	out     io.Writer
	width   int // of the terminal; 0 is none
	phase   string
	written time.Time
	shown   bool
}

// progress gives what shows a pull, or nil if nothing is to be shown.
func (a *app) progress() *progress {
	if a.quiet {
		return nil
	}
	p := &progress{out: a.stderr}
	if f, ok := a.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 10 {
			p.width = width
		}
	}
	return p
}

// hook gives the function that an operation calls as it goes on.
func (p *progress) hook() func(pyro.PullProgress) {
	if p == nil {
		return nil
	}
	return p.show
}

func (p *progress) show(m pyro.PullProgress) {
	begun := m.Phase != p.phase
	p.phase = m.Phase
	if p.width == 0 {
		if begun {
			fmt.Fprintln(p.out, progressLine(pyro.PullProgress{Phase: m.Phase, Detail: m.Detail}))
		}
		return
	}
	if !begun && time.Since(p.written) < 80*time.Millisecond {
		return
	}
	p.written, p.shown = time.Now(), true
	line := []rune(progressLine(m))
	if len(line) > p.width-1 {
		line = line[:p.width-1]
	}
	fmt.Fprintf(p.out, "\r\x1b[K%s", string(line))
}

// end clears the line, so that what follows begins on a clean one.
func (p *progress) end() {
	if p != nil && p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.shown = false
	}
}

func progressLine(m pyro.PullProgress) string {
	var b strings.Builder
	b.WriteString(m.Phase)
	if m.BytesTotal > 0 {
		fmt.Fprintf(&b, "  %3d%%  %s of %s", m.BytesDone*100/m.BytesTotal, size(m.BytesDone),
			size(m.BytesTotal))
	} else if m.BytesDone > 0 {
		fmt.Fprintf(&b, "  %s", size(m.BytesDone))
	}
	if m.PackagesTotal > 0 {
		fmt.Fprintf(&b, "  %d of %d", m.PackagesDone, m.PackagesTotal)
	}
	if m.Detail != "" {
		b.WriteString("  " + oneLine(m.Detail))
	}
	return b.String()
}

// withEnvironment does an operation that pulls its environment first if that is missing: the pull is
// shown.
func withEnvironment[T any](a *app, do func(func(pyro.PullProgress)) (T, error)) (T, error) {
	shown := a.progress()
	result, err := do(shown.hook())
	shown.end()
	return result, err
}
