package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/pyro-mcp/pyro/internal/chat"
)

// lineLimit is how many characters of foreign text one log line shows.
const lineLimit = 160

// log writes one step: on one line, or with --verbose in full below it.
func (t *talk) log(step string, begun time.Time, text string) {
	passed := time.Since(begun).Milliseconds()
	step = oneLine(step)
	if !t.o.Verbose {
		fmt.Fprintf(t.o.Out, "%-40s %6d ms  %s\n", step, passed, oneLine(text))
		return
	}
	fmt.Fprintf(t.o.Out, "%-40s %6d ms\n", step, passed)
	for line := range strings.Lines(strings.TrimSpace(text)) {
		fmt.Fprintf(t.o.Out, "    %s\n", printable(strings.TrimRight(line, "\r\n")))
	}
}

// summary writes the last line.
func (t *talk) summary(begun time.Time, err error) {
	what, detail := string(t.result.Outcome), t.result.Detail
	switch {
	case errors.Is(err, context.Canceled):
		what, detail = "interrupted", "what the model made is removed"
	case err != nil:
		what, detail = "failed", err.Error()
	}
	detail = oneLine(detail)
	if t.result.Hint != "" && err == nil {
		detail += "; " + oneLine(t.result.Hint)
	}
	fmt.Fprintf(t.o.Out, "summary: %s: %s (%s, %s, %.1f s)\n", what, detail, count(t.result.Rounds, "round"),
		count(t.result.Calls, "tool call"), time.Since(begun).Seconds())
}

// wish words what the model answered.
func wish(a chat.Answer) string {
	var lines []string
	if text := strings.TrimSpace(a.Content); text != "" {
		lines = append(lines, "says: "+text)
	}
	for _, c := range a.ToolCalls {
		lines = append(lines, fmt.Sprintf("calls %s %s", c.Name, c.Arguments))
	}
	if lines == nil {
		return "says nothing"
	}
	return strings.Join(lines, "\n")
}

// printable takes out what would steer a terminal: the text is a model's or a guest's.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return -1
	}, s)
}

// oneLine makes foreign text one line of bounded length.
func oneLine(s string) string {
	s = printable(strings.Join(strings.Fields(s), " "))
	if runes := []rune(s); len(runes) > lineLimit {
		return string(runes[:lineLimit]) + "…"
	}
	return s
}

// clip shortens what a tool said to what a small model can take.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + fmt.Sprintf("\n[%d bytes left out]", len(s)-limit)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
