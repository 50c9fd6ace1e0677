package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/pyro-mcp/pyro"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// terminalFlags are those of commands that may have a terminal.
type terminalFlags struct {
	input, terminal bool

	timed func() bool // a time limit was asked for
}

func (f *terminalFlags) add(cmd *cobra.Command) {
	f.timed = func() bool { return cmd.Flags().Changed("timeout-seconds") }
	cmd.Flags().BoolVarP(&f.input, "interactive", "i", false,
		"pass input on at once, rather than once the command reads it")
	cmd.Flags().BoolVar(&f.input, "stdin", false, "the same as --interactive")
	_ = cmd.Flags().MarkHidden("stdin")
	cmd.Flags().BoolVarP(&f.terminal, "tty", "t", false,
		"give the command a terminal; there is then no time limit unless one is set")
}

// shells are programs that show a prompt on a terminal.
func shells() []string {
	return strings.Fields("sh bash dash zsh fish ash ksh python3 python node irb ipython3")
}

// remarkShell says how a shell gets a prompt, to who starts one on a terminal without.
func (a *app) remarkShell(argv []string) {
	if a.quiet || a.json || len(argv) != 1 || terminalOf(a.stdin) == nil {
		return
	}
	if name := path.Base(argv[0]); slices.Contains(shells(), name) {
		fmt.Fprintf(a.stderr, "pyro: %s has no terminal and shows no prompt; use -it to give it one\n", name)
	}
}

// terminalOf gives a stream that is a terminal, nil if it is none.
func terminalOf(stream any) *os.File {
	if f, ok := stream.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// enterTerminal gives a command a terminal like the user's, and makes the user's pass every key on.
// restore makes it what it was.
func (a *app) enterTerminal(ctx context.Context, line *pyro.CommandLine) (restore func()) {
	line.Terminal = &pyro.Terminal{
		Type:   os.Getenv("TERM"),
		Locale: cmp.Or(os.Getenv("LC_ALL"), os.Getenv("LC_CTYPE"), os.Getenv("LANG")),
	}
	screen := terminalOf(a.stdout)
	keys := terminalOf(a.stdin)
	if screen != nil {
		line.Terminal.TerminalSize = sizeOf(screen)
	}
	if keys == nil {
		return func() {}
	}
	t := &ourTerminal{
		keys:   keys,
		screen: screen,
		sizes:  make(chan pyro.TerminalSize, 1),
		over:   make(chan struct{}),
	}
	if screen != nil {
		line.Streams.Stdout = &t.modes
		t.modes.to = screen
		line.Streams.Sizes = t.sizes
	}
	t.raw()
	// A signal that ends us must not wait for the guest to have its say.
	stop := context.AfterFunc(ctx, t.restore)
	go t.watch()
	return func() {
		stop()
		t.restore()
	}
}

// ourTerminal is the one that pyro was started on, while a command in a guest has it.
type ourTerminal struct {
	keys, screen *os.File
	modes        modes
	sizes        chan pyro.TerminalSize
	over         chan struct{}
	once         sync.Once

	mu     sync.Mutex
	before *term.State // nil while it is as it was found
	done   bool
}

func (t *ourTerminal) raw() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done || t.before != nil {
		return
	}
	if before, err := term.MakeRaw(int(t.keys.Fd())); err == nil {
		t.before = before
	}
}

// cook makes the terminal what it was.
func (t *ourTerminal) cook() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.before != nil {
		_ = term.Restore(int(t.keys.Fd()), t.before)
		t.before = nil
	}
}

func (t *ourTerminal) restore() {
	t.once.Do(func() {
		close(t.over)
		t.mu.Lock()
		t.done = true
		t.mu.Unlock()
		t.modes.undo()
		t.cook()
	})
}

// watch passes the terminal's size on as it changes, and hands the terminal back while we are suspended.
func (t *ourTerminal) watch() {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGWINCH, syscall.SIGTSTP, syscall.SIGCONT)
	defer signal.Stop(signals)
	for {
		select {
		case <-t.over:
			return
		case s := <-signals:
			if s == syscall.SIGTSTP {
				t.cook()
				_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
				continue
			}
			if s == syscall.SIGCONT {
				t.raw()
			}
			if t.screen != nil {
				t.resized()
			}
		}
	}
}

// resized tells the newest size, in place of one that nobody has taken yet.
func (t *ourTerminal) resized() {
	select {
	case <-t.sizes:
	default:
	}
	select {
	case t.sizes <- sizeOf(t.screen):
	case <-t.over:
	}
}

func sizeOf(f *os.File) pyro.TerminalSize {
	cols, rows, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return pyro.TerminalSize{}
	}
	return pyro.TerminalSize{Rows: uint16(rows), Cols: uint16(cols)}
}

// modes passes a screen's output on, and notes which of the terminal's modes the program has changed, so that
// they can be undone if it ends without doing so itself.
type modes struct {
	to io.Writer

	mu      sync.Mutex
	changed map[string]bool // modes that are not as a shell wants them
	pending []byte          // the beginning of a sequence
}

// undoing says how a mode that was changed is made what it was. The set and reset sequences are ESC [ ? N h
// and l.
var undoing = map[string]string{
	"1": "l", "25": "h", "47": "l", "1047": "l", "1049": "l", "1000": "l", "1002": "l", "1003": "l",
	"1004": "l", "1005": "l", "1006": "l", "1015": "l", "2004": "l", "2026": "l",
}

func (m *modes) Write(p []byte) (int, error) {
	m.mu.Lock()
	for _, b := range p {
		m.note(b)
	}
	m.mu.Unlock()
	return m.to.Write(p)
}

func (m *modes) note(b byte) {
	const longest = 32
	switch {
	case b == 0x1b:
		m.pending = append(m.pending[:0], b)
	case len(m.pending) == 0:
	case len(m.pending) == 1 && b == '[', len(m.pending) == 2 && b == '?':
		m.pending = append(m.pending, b)
	case len(m.pending) >= 3 && len(m.pending) < longest && (b >= '0' && b <= '9' || b == ';'):
		m.pending = append(m.pending, b)
	default:
		if len(m.pending) > 3 && (b == 'h' || b == 'l') {
			m.set(string(m.pending[3:]), string(b))
		}
		m.pending = m.pending[:0]
	}
}

func (m *modes) set(numbers, to string) {
	for _, n := range strings.Split(numbers, ";") {
		if back, ok := undoing[n]; ok {
			if m.changed == nil {
				m.changed = map[string]bool{}
			}
			m.changed[n] = back != to
		}
	}
}

// undo makes the modes what they were.
func (m *modes) undo() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.to == nil {
		return
	}
	var names []string
	for n, changed := range m.changed {
		if changed {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	for _, n := range names {
		fmt.Fprintf(m.to, "\x1b[?%s%s", n, undoing[n])
	}
	if len(names) > 0 {
		io.WriteString(m.to, "\x1b[0m")
	}
	m.changed = nil
}
