package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pyro-mcp/pyro"
)

// printJSON writes v as the one document on stdout: indented by 2, keys sorted.
func (a *app) printJSON(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot encode the result: %w", err)
	}
	var sorted any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&sorted); err != nil {
		return fmt.Errorf("cannot encode the result: %w", err)
	}
	encoder := json.NewEncoder(a.stdout)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(sorted)
}

// print writes a result: as JSON if asked, else as text.
func (a *app) print(v any, text func(w io.Writer)) error {
	if a.json {
		return a.printJSON(v)
	}
	var out bytes.Buffer
	text(&out)
	_, err := a.stdout.Write(out.Bytes())
	return err
}

// remark says something on stderr that a person may want to know and a script does not.
func (a *app) remark(format string, args ...any) {
	if !a.quiet && !a.json {
		fmt.Fprintf(a.stderr, format+"\n", args...)
	}
}

// notice passes on pyro's own word on how a command ended.
func (a *app) notice(o pyro.Output) {
	if o.Notice != "" {
		line := "pyro: " + oneLine(o.Notice)
		if hint := pyro.CauseRemedy(o.Cause, wording()); hint != "" {
			line += "; " + hint
		}
		fmt.Fprintln(a.stderr, line)
	}
}

// table writes rows in columns.
func table(w io.Writer, rows ...[]string) {
	columns := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(columns, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	columns.Flush()
}

// size words a number of bytes.
func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

// took words a duration in milliseconds.
func took(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%d ms", ms)
}

func moment(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.Local().Format(time.DateTime)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func orNone(s *string) string {
	if s == nil {
		return "none"
	}
	return oneLine(*s)
}
