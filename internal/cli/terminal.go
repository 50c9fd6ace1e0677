package cli

import (
	"cmp"
	"context"
	"fmt"
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
				t.modes.undo()
				t.cook()
				_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
				continue
			}
			if s == syscall.SIGCONT {
				t.raw()
				t.modes.redo()
			}
			if t.screen != nil {
				t.resized(s == syscall.SIGCONT)
			}
		}
	}
}

// resized tells the newest size, in place of one that nobody has taken yet. To have everything drawn anew it
// tells another one before.
func (t *ourTerminal) resized(anew bool) {
	size := sizeOf(t.screen)
	sizes := []pyro.TerminalSize{size}
	if anew && size.Rows > 1 {
		sizes = []pyro.TerminalSize{{Rows: size.Rows - 1, Cols: size.Cols}, size}
	}
	select {
	case <-t.sizes:
	default:
	}
	for _, each := range sizes {
		select {
		case t.sizes <- each:
		case <-t.over:
		}
	}
}

func sizeOf(f *os.File) pyro.TerminalSize {
	cols, rows, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return pyro.TerminalSize{}
	}
	return pyro.TerminalSize{Rows: uint16(rows), Cols: uint16(cols)}
}
