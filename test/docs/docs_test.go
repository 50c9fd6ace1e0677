// Package docs runs what the documentation shows: each console block's commands, in order, with the built
// program ($PYRO_BINARY, else bin/pyro) on real guests, and each Go and Python example. A block that cannot
// be run in a test says why in a comment before it; one of a kind that the test does not know is a failure.
package docs

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pyro-mcp/pyro/test/built"
)

const root = "../.."

// block is one fenced block of a page.
type block struct {
	line   int
	kind   string
	text   string
	notRun string // the reason, if there is one
}

var notRun = regexp.MustCompile(`^<!-- not run: (.+) -->$`)

// blocks reads a page's.
func blocks(page string) (found []block) {
	var open *block
	reason := ""
	for i, line := range strings.Split(page, "\n") {
		switch fence, isFence := strings.CutPrefix(line, "```"); {
		case open == nil && isFence:
			open = &block{line: i + 1, kind: fence, notRun: reason}
		case isFence:
			found, open = append(found, *open), nil
		case open != nil:
			open.text += line + "\n"
			continue
		}
		if m := notRun.FindStringSubmatch(line); m != nil {
			reason = m[1]
		} else if strings.TrimSpace(line) != "" {
			reason = ""
		}
	}
	return found
}

// step is a command and what a page shows of its output.
type step struct {
	command string
	shown   []string
}

// steps takes a console block apart: commands begin with "$ " and go on after a backslash.
func steps(text string) (all []step) {
	goesOn := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case goesOn:
			all[len(all)-1].command += "\n" + line
		case isCommand:
			all = append(all, step{command: command})
		case len(all) > 0:
			last := &all[len(all)-1]
			last.shown = append(last.shown, line)
		}
		goesOn = (goesOn || isCommand) && strings.HasSuffix(line, "\\")
	}
	return all
}

// volatile is what differs from run to run, and from machine to machine.
var volatile = regexp.MustCompile(`\b(run|vm|task)-[0-9a-f]{12}\b|\d+(\.\d+)?`)

// matches compares what came with what is shown: "..." stands for anything, on a line of its own for any
// lines, and any number for any other.
func matches(shown []string, got string) bool {
	pattern := "^"
	for _, line := range shown {
		if strings.TrimSpace(line) == "..." {
			pattern += `(?:.*\n)*?`
			continue
		}
		parts := strings.Split(line, "...")
		for i, part := range parts {
			normal := volatile.ReplaceAllString(part, "0")
			parts[i] = regexp.MustCompile(`\s+`).ReplaceAllString(regexp.QuoteMeta(normal), `\s+`)
		}
		pattern += strings.Join(parts, ".*") + `\s*\n`
	}
	return regexp.MustCompile(pattern + "$").MatchString(volatile.ReplaceAllString(got, "0"))
}

// console is a shell that lives through a page, so that its variables do.
type console struct {
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

const mark = "--- exit status "

func (c *console) run(command string) (output string, status string, err error) {
	if _, err := fmt.Fprintf(c.in, "{ %s\n} 2>&1 </dev/null\necho; echo '%s'$?\n", command,
		mark); err != nil {
		return "", "", err
	}
	for {
		line, err := c.out.ReadString('\n')
		if err != nil {
			return output, "", fmt.Errorf("the shell ended: %w", err)
		}
		if status, done := strings.CutPrefix(line, mark); done {
			return strings.TrimSuffix(output, "\n"), strings.TrimSpace(status), nil
		}
		output += line
	}
}

// environ is the program first on PATH, a state of the page's own, and the cache that all tests share.
func environ(t *testing.T, state string) []string {
	binary := built.Program()
	library, err := filepath.Abs(root + "/python/src")
	if err != nil {
		t.Fatal(err)
	}
	return append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"), "PYRO_STATE_DIR="+state,
		"PYRO_BINARY="+binary, "PYTHONPATH="+library, "NO_COLOR=1")
}

func pages(t *testing.T) []string {
	found, err := filepath.Glob(root + "/docs/*.md")
	if err != nil || len(found) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	return append(found, root+"/README.md")
}

func TestPages(t *testing.T) {
	for _, path := range pages(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			page, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			p := &player{t: t, dir: t.TempDir(), env: environ(t, t.TempDir())}
			defer p.close()
			for _, b := range blocks(string(page)) {
				where := fmt.Sprintf("%s:%d", filepath.Base(path), b.line)
				if b.notRun != "" {
					t.Logf("%s is not run: %s", where, b.notRun)
					continue
				}
				p.play(where, b)
			}
		})
	}
}

// player runs the blocks of one page.
type player struct {
	t     *testing.T
	dir   string
	env   []string
	shell *console
}

func (p *player) play(where string, b block) {
	switch b.kind {
	case "console":
		p.console(where, b.text)
	case "python":
		p.program(where, exec.Command(python(), "-c", b.text))
	case "go":
		file := filepath.Join(p.t.TempDir(), "main.go")
		if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
			p.t.Fatal(err)
		}
		build := exec.Command("go", "build", "-o", os.DevNull, file)
		build.Dir = root
		p.program(where, build)
	case "", "json", "text": // shown, and no command
	default:
		p.t.Errorf("%s: a block of kind %q is neither run nor marked as not run", where, b.kind)
	}
}

func (p *player) program(where string, cmd *exec.Cmd) {
	if cmd.Dir == "" {
		cmd.Dir = p.dir
	}
	cmd.Env = p.env
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Errorf("%s: %v\n%s", where, err, out)
	}
}

// python is the tests' own, else the host's.
func python() string {
	if path, err := filepath.Abs(root + "/.venv/bin/python"); err == nil {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return "python3"
}

// hostsRemark is what is said once on a host without KVM, which the pages say nothing of.
var hostsRemark = regexp.MustCompile(`(?m)^pyro: guests are emulated here.*\n`)

func (p *player) console(where, text string) {
	if p.shell == nil {
		p.start()
	}
	for _, s := range steps(text) {
		got, status, err := p.shell.run(s.command)
		got = hostsRemark.ReplaceAllString(got, "")
		if err != nil {
			p.t.Fatalf("%s: %s: %v", where, s.command, err)
		}
		if status != "0" {
			p.t.Errorf("%s: %s: exit status %s\n%s", where, s.command, status, got)
		} else if !matches(s.shown, got) {
			p.t.Errorf("%s: %s gives\n%s\nnot\n%s", where, s.command, got, strings.Join(s.shown, "\n"))
		}
	}
}

func (p *player) start() {
	cmd := exec.Command("bash")
	cmd.Dir, cmd.Env = p.dir, p.env
	in, err := cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.shell = &console{cmd: cmd, in: in, out: bufio.NewReader(out)}
}

// close ends the page's shell, and wants no VM of the page's to be left.
func (p *player) close() {
	if p.shell == nil {
		return
	}
	left, _, err := p.shell.run("pyro task list --json")
	if err != nil || strings.Contains(left, `_id": "`) {
		p.t.Errorf("the page leaves VMs or tasks: %v\n%s", err, left)
	}
	if in, ok := p.shell.in.(io.Closer); ok {
		in.Close()
	}
	_ = p.shell.cmd.Wait()
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		shown, got string
		want       bool
	}{
		{"git version 2.39.5", "git version 2.50.1\n", true},
		{"git version", "svn version\n", false},
		{"one\n...\nfour", "one\ntwo\nthree\nfour\n", true},
		{"deleted task-0123456789ab", "deleted task-ba9876543210\n", true},
		{"a  ...  b", "a x b\n", true},
		{"", "", true},
		{"a", "a\nb\n", false},
	} {
		var shown []string
		if c.shown != "" {
			shown = strings.Split(c.shown, "\n")
		}
		if got := matches(shown, c.got); got != c.want {
			t.Errorf("%q against %q: %v", c.shown, c.got, got)
		}
	}
	if len(steps("$ a \\\n  b\nout\n$ c\n")) != 2 {
		t.Error("a command that goes on is not taken as one")
	}
}
