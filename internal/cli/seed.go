package cli

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
)

// seedFlags say what a workspace is filled with.
type seedFlags struct {
	source                 string
	exclude                []string
	strict, includeIgnored bool
}

func (s *seedFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&s.source, "source-path", "",
		"`PATH` of a directory, .tar, .tar.gz or .tgz whose content /workspace gets")
	flags.StringArrayVar(&s.exclude, "exclude", nil,
		"leave behind what fits `PATTERN`, as in .gitignore; .pyroignore holds more of them (repeatable)")
	flags.BoolVar(&s.includeIgnored, "include-ignored", false, "take along what git ignores in a work tree")
	flags.BoolVar(&s.strict, "strict", false,
		"refuse a directory of which something cannot come along, in place of leaving that out")
}

// path is the source's, absolute, or "".
func (s *seedFlags) path() (string, error) {
	if s.source == "" {
		return "", nil
	}
	path, err := filepath.Abs(s.source)
	if err != nil {
		err = fmt.Errorf("cannot find %q: %w", s.source, err)
	}
	return path, err
}

// seeded tells what of a source did not come along.
func (a *app) seeded(s pyro.WorkspaceSeed) {
	if s.IgnoredCount > 0 {
		a.remark("left behind, since git ignores it: %s (--include-ignored takes it along)",
			some(s.Ignored, s.IgnoredCount))
	}
	if s.LeftOutCount > 0 {
		a.remark("left out, since it cannot come along: %s (--strict refuses)",
			some(s.LeftOut, s.LeftOutCount))
	}
}

// namedOnes is how many are named in one line.
const namedOnes = 5

// some counts and names a few of many.
func some(names []string, count int64) string {
	shown := names[:min(len(names), namedOnes)]
	for i := range shown {
		shown[i] = oneLine(shown[i])
	}
	text := strings.Join(shown, ", ")
	if rest := count - int64(len(shown)); rest > 0 {
		text += fmt.Sprintf(" and %d more", rest)
	}
	return fmt.Sprintf("%d: %s", count, text)
}
