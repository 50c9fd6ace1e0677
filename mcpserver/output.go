package mcpserver

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/pyro-mcp/pyro"
)

// streamLimit is how many bytes of each stream a tool's result holds.
const streamLimit = 64 << 10

// listLimit is the same for each entry of a history with several.
const listLimit = 4 << 10

// cutOutput cuts both streams to a size: their beginning and end stay.
func cutOutput(o *pyro.Output, limit int, rest string) {
	if len(o.StdoutBase64) > limit {
		o.StdoutBase64 = nil
	}
	if len(o.StderrBase64) > limit {
		o.StderrBase64 = nil
	}
	var cut bool
	if o.Stdout, cut = cutMiddle(o.Stdout, limit, rest); cut {
		o.StdoutTruncated = true
	}
	if o.Stderr, cut = cutMiddle(o.Stderr, limit, rest); cut {
		o.StderrTruncated = true
	}
}

func cutMiddle(s string, limit int, rest string) (string, bool) {
	if len(s) <= limit {
		return s, false
	}
	head, tail := limit/2, len(s)-limit/2
	for head > 0 && !utf8.RuneStart(s[head]) {
		head--
	}
	for tail < len(s) && !utf8.RuneStart(s[tail]) {
		tail++
	}
	return fmt.Sprintf("%s\n[... %d bytes left out; %s ...]\n%s", s[:head], tail-head, rest, s[tail:]), true
}

// commandText words how a command ended, for models that read text.
func commandText(o pyro.Output) string {
	var b strings.Builder
	fmt.Fprintf(&b, "exit code %d (%s, %d ms)", o.ExitCode, o.ExecutionMode, o.DurationMS)
	if o.TimedOut {
		b.WriteString(", timed out: the command and all that it started were killed")
	}
	if o.Notice != "" {
		b.WriteString("\n" + o.Notice)
		if remedy := pyro.CauseRemedy(o.Cause, wordingForModels()); remedy != "" {
			b.WriteString("; " + remedy)
		}
	}
	for _, s := range []struct{ name, text string }{{"stdout", o.Stdout}, {"stderr", o.Stderr}} {
		if s.text == "" {
			fmt.Fprintf(&b, "\n%s: empty", s.name)
			continue
		}
		fmt.Fprintf(&b, "\n%s:\n%s", s.name, strings.TrimSuffix(s.text, "\n"))
	}
	return b.String()
}
