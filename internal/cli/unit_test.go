package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pyro-mcp/pyro"
	"github.com/pyro-mcp/pyro/internal/vmm"
	"github.com/spf13/cobra"
)

func TestPrintJSON(t *testing.T) {
	var out bytes.Buffer
	a := &app{stdout: &out}
	if err := a.printJSON(struct {
		B string `json:"b"`
		A int64  `json:"a"`
	}{"<&>", 1 << 62}); err != nil {
		t.Fatal(err)
	}
	if want := "{\n  \"a\": 4611686018427387904,\n  \"b\": \"<&>\"\n}\n"; out.String() != want {
		t.Errorf("got %s, want %s", out.String(), want)
	}
}

func TestReport(t *testing.T) {
	signalled, cancel := context.WithCancelCause(t.Context())
	cancel(interrupted{syscall.SIGTERM})
	cmd := &cobra.Command{Use: "pyro"}
	for _, c := range []struct {
		ctx  context.Context
		err  error
		code int
		line string
	}{
		{t.Context(), nil, 0, ""},
		{t.Context(), exitStatus(77), 77, ""},
		{t.Context(), usagef("no"), 2, "pyro: no; see 'pyro --help'\n"},
		{t.Context(), errors.New("a\nb"), 1, "pyro: a b\n"},
		{t.Context(), fmt.Errorf("x: %w", &pyro.Error{Kind: pyro.ErrNotFound, Message: "m", Hint: "h"}), 1,
			"pyro: x: m; h\n"},
		{t.Context(), &pyro.Error{Kind: pyro.ErrGuestUnavailable, Message: "m"}, 1,
			"pyro: m; run 'pyro doctor' to see what this host lacks\n"},
		{signalled, context.Canceled, 143, "pyro: stopped by terminated\n"},
	} {
		var stderr bytes.Buffer
		a := &app{stderr: &stderr}
		if code := a.report(c.ctx, cmd, c.err); code != c.code || stderr.String() != c.line {
			t.Errorf("%v: got %d %q, want %d %q", c.err, code, stderr.String(), c.code, c.line)
		}
	}
}

func TestProgress(t *testing.T) {
	var out bytes.Buffer
	p := &progress{out: &out}
	for _, m := range []pyro.PullProgress{
		{Phase: "download", BytesTotal: 100}, {Phase: "download", BytesDone: 50, BytesTotal: 100},
		{Phase: "unpack", Detail: "96 packages"},
	} {
		p.show(m)
	}
	p.end()
	if want := "download\nunpack  96 packages\n"; out.String() != want {
		t.Errorf("off a terminal: got %q, want %q", out.String(), want)
	}
	out.Reset()
	p = &progress{out: &out, width: 20}
	p.show(pyro.PullProgress{
		Phase:         "download",
		BytesDone:     50 << 20,
		BytesTotal:    100 << 20,
		PackagesDone:  3,
		PackagesTotal: 9,
	})
	p.end()
	if got := out.String(); !strings.HasPrefix(got, "\r\x1b[Kdownload   50%  50") ||
		len(strings.Split(got, "\r\x1b[K")[1]) > 19 {
		t.Errorf("on a terminal: got %q", got)
	}
	(*progress)(nil).end()
}

func TestHelpFits(t *testing.T) {
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		var out bytes.Buffer
		cmd.SetOut(&out)
		if err := cmd.Help(); err != nil {
			t.Error(err)
		}
		for line := range strings.Lines(out.String()) {
			if len(strings.TrimRight(line, "\n")) > helpWidth && !strings.HasPrefix(line, "  pyro ") {
				t.Errorf("%s --help has a line of %d columns: %s", cmd.CommandPath(), len(line)-1, line)
			}
			if strings.Contains(line, " string ") || strings.Contains(line, " stringArray ") {
				t.Errorf("%s --help does not name a flag's value: %s", cmd.CommandPath(), line)
			}
		}
		for _, child := range cmd.Commands() {
			if !child.Hidden {
				check(child)
			}
		}
	}
	check(newRoot(&app{}))
}

// Remedies name flags and commands that there are, and the accelerators are those that the VMMs know.
func TestRemediesOnTheCommandLine(t *testing.T) {
	root := NewCommand("test")
	flags := map[string]bool{}
	var collect func(*cobra.Command)
	collect = func(cmd *cobra.Command) {
		for _, name := range flagNames(cmd) {
			flags["--"+name] = true
		}
		for _, child := range cmd.Commands() {
			collect(child)
		}
	}
	collect(root)
	for _, r := range pyro.Remedies() {
		hint := pyro.ErrorRemedy(&pyro.Error{Kind: r.Kind, Cause: r.Cause}, wording())
		for word := range strings.FieldsSeq(hint) {
			if word = strings.Trim(word, ",;"); strings.HasPrefix(word, "--") && !flags[word] {
				t.Errorf("%q names %s, which no command has", hint, word)
			}
		}
		_, command, ok := strings.Cut(hint, "'pyro ")
		command, _, _ = strings.Cut(command, "'")
		words := strings.Fields(strings.TrimSuffix(command, " NAME"))
		if cmd, rest, err := root.Find(words); ok && (err != nil || len(rest) > 0 || cmd == root) {
			t.Errorf("%q names 'pyro %s', which there is not", hint, command)
		}
	}
	var known []string
	for _, a := range vmm.Accelerators() {
		known = append(known, string(a))
	}
	if !slices.Equal(known, pyro.AcceleratorChoices()) {
		t.Errorf("the faces offer %q, VMMs know %q", pyro.AcceleratorChoices(), known)
	}
}

func TestUnits(t *testing.T) {
	for text, want := range map[string]int{"90": 90, "90s": 90, "10m": 600, "2h": 7200, "1h30m": 5400,
		"1d": 86400, "500ms": 1, "0": 0} {
		d := duration{least: 0}
		if err := d.Set(text); err != nil || d.value != want {
			t.Errorf("%q: %d, %v", text, d.value, err)
		}
	}
	for text, want := range map[string]int{"512": 512, "512m": 512, "2g": 2048, "1.5GiB": 1536, "1t": 1 << 20,
		"1024k": 1, "2GB": 2048} {
		m := mebibytes{least: 1}
		if err := m.Set(text); err != nil || m.value != want {
			t.Errorf("%q: %d, %v", text, m.value, err)
		}
	}
	for _, text := range []string{"", "m", "x", "-1", "-1m", "1x", "1.5", "1e9g", "NaNg"} {
		if err := (&mebibytes{least: 1}).Set(text); err == nil {
			t.Errorf("%q is a size", text)
		}
		if err := (&duration{least: 0}).Set(text); err == nil && text != "-1m" {
			t.Errorf("%q is a duration", text)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		600 * time.Second:  "10m",
		time.Hour:          "1h",
		90 * time.Minute:   "1h30m",
		90 * time.Second:   "1m30s",
		3601 * time.Second: "1h0m1s",
		5 * time.Second:    "5s",
	} {
		if got := span(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
