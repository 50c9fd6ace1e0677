package mcpserver

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/pyro-mcp/pyro"
)

// streamLimit is how many bytes of each stream a tool's result holds, as JSON has them: a control character
// takes six.
const streamLimit = 32 << 10

// listLimit is the same for each entry of a history with several.
const listLimit = 2 << 10

// historyText bounds the streams of a history with several entries, together.
const historyText = 32 << 10

// resultLimit bounds a whole result of a command, in bytes as it is sent: two streams, each as text and as a
// field.
const resultLimit = 4*streamLimit + 16<<10

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

// cutMiddle cuts a text so that its encoding has limit bytes, beside a mark for what is left out.
func cutMiddle(s string, limit int, rest string) (string, bool) {
	if encodedSize(s) <= limit {
		return s, false
	}
	head := encodedPrefix(s, limit/2)
	tail := len(s)
	for room := limit - limit/2; tail > head; {
		r, size := utf8.DecodeLastRuneInString(s[:tail])
		if room -= encodedRune(r, size); room < 0 {
			break
		}
		tail -= size
	}
	mark := fmt.Sprintf("\n[... %d bytes left out; %s ...]\n", tail-head, rest)
	return s[:head] + mark + s[tail:], true
}

// encodedSize is how many bytes a text takes within a JSON string.
func encodedSize(s string) (n int) {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		n += encodedRune(r, size)
		i += size
	}
	return n
}

// encodedPrefix is how many bytes of a text are within limit bytes of JSON.
func encodedPrefix(s string, limit int) int {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if limit -= encodedRune(r, size); limit < 0 {
			return i
		}
		i += size
	}
	return len(s)
}

func encodedRune(r rune, size int) int {
	switch {
	case r == '"', r == '\\', r == '\n', r == '\r', r == '\t', r == '\b', r == '\f':
		return 2
	case r == utf8.RuneError && size == 1,
		r < ' ',
		r == '<',
		r == '>',
		r == '&',
		r == '\u2028',
		r == '\u2029':
		return 6
	}
	return size
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
		if remedy := pyro.CauseRemedy(o.Cause, wordingForModels(Policy{})); remedy != "" {
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
