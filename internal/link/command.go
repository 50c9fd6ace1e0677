package link

import "strings"

// Exec asks for one command. Exactly one of Command and Argv is set.
//
// A command that has an ID lives on, detached, if the connection is lost or replaced, and can be attached to.
// It is killed if its caller closes the stream. One without an ID ends with its caller in either case.
type Exec struct {
	ID        string    `json:"id,omitempty"`         // chosen by the host; see [ValidCommandID]
	Command   string    `json:"command,omitempty"`    // a shell command line, run by /bin/sh -lc
	Argv      []string  `json:"argv,omitempty"`       //
	Env       []string  `json:"env,omitempty"`        // over the variables of the set-up
	WorkDir   string    `json:"work_dir,omitempty"`   // relative to the one of the set-up, which empty is
	User      string    `json:"user,omitempty"`       // as in the set-up; empty is the one of the set-up
	Secrets   []string  `json:"secrets,omitempty"`    // NAME=VALUE, over Env; never written down, and masked in what is
	GraceMS   int64     `json:"grace_ms,omitempty"`   // between SIGTERM at the limit and SIGKILL
	TimeoutMS int64     `json:"timeout_ms"`           // 0 is none
	Stdin     bool      `json:"stdin"`                // stdin messages follow, and resize messages, up to the stream's end
	LazyStdin bool      `json:"lazy_stdin,omitempty"` // they follow once a Wanted has been sent
	Terminal  *Terminal `json:"terminal,omitempty"`   // it gets one: its stderr comes as stdout
	ClockNS   int64     `json:"clock_ns,omitempty"`   // the host's clock, ns since 1970 UTC, for a guest that is behind it
	Last      bool      `json:"last,omitempty"`       // for the supervisor: the VM goes when this connection does
}

// Terminal is what a command's terminal is to be.
type Terminal struct {
	Size
	Type   string `json:"type,omitempty"`   // the TERM variable; empty is "xterm-256color"
	Locale string `json:"locale,omitempty"` // the LANG variable, if the guest has that locale; empty is the set-up's
}

// Size is a terminal's, in characters.
type Size struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

// ValidCommandID tells whether a command may be called so: 1 to 64 letters, digits, dots, dashes and
// underscores.
func ValidCommandID(id string) bool {
	ok := func(r rune) bool {
		return alphanumeric(r) || strings.ContainsRune(".-_", r)
	}
	return id != "" && len(id) <= 64 && strings.IndexFunc(id, func(r rune) bool { return !ok(r) }) < 0
}

// Line is the command as a person would type it.
func (e Exec) Line() string {
	if e.Command != "" {
		return e.Command
	}
	words := make([]string, len(e.Argv))
	for i, w := range e.Argv {
		words[i] = quote(w)
	}
	return strings.Join(words, " ")
}

// quote gives a word that a shell reads as itself.
func quote(word string) string {
	plain := func(r rune) bool {
		return alphanumeric(r) || strings.ContainsRune("-_./:=,+@%", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// ExecResult ends an Exec or an Attach.
type ExecResult struct {
	ExitCode   int   `json:"exit_code"` // as a shell gives: 128+n for signal n, 124 for a timeout
	TimedOut   bool  `json:"timed_out,omitempty"`
	OOM        bool  `json:"oom,omitempty"`       // the kernel killed something of the command for memory
	DiskFull   bool  `json:"disk_full,omitempty"` // the guest's disk has no room left
	DurationMS int64 `json:"duration_ms"`
	// Shell is what ran a command line: bash or sh; empty for an argument vector.
	Shell string `json:"shell,omitempty"`

	// What follows is the supervisor's to set.
	Sequence int    `json:"sequence,omitempty"`
	Mode     string `json:"mode,omitempty"`   // the execution mode
	Notice   string `json:"notice,omitempty"` // pyro's own word on how the command ended
	Cause    Cause  `json:"cause,omitempty"`  // what the notice is about
}

// Attach asks to be the caller of a command that is known by its id, from a place in each of its output
// streams on. The caller before, if there still is one, is sent away. A command that has ended gives what is
// kept of its output, and its result.
type Attach struct {
	ID     string `json:"id"`
	Stdout int64  `json:"stdout"` // bytes that the caller has already
	Stderr int64  `json:"stderr"`
	Stdin  bool   `json:"stdin"` // stdin messages follow
}

// Attached is the first message of an attached stream, of [KindNote]. What the caller asked for and is no
// longer kept lies between the place that it asked for and the one given here.
type Attached struct {
	Stdout int64 `json:"stdout"` // where the output that follows begins
	Stderr int64 `json:"stderr"`
	Stdin  int64 `json:"stdin"` // bytes of input that were taken so far
}

// Wanted is a message of [KindNote]: a command that was given a lazy standard input reads it.
type Wanted struct {
	Stdin bool `json:"wants_stdin"`
}

// CommandList answers OpCommands.
type CommandList struct {
	Commands []CommandInfo `json:"commands"` // those that run, then those that have ended, oldest first
}

// CommandInfo is what a guest knows of one command that has an id.
type CommandInfo struct {
	ID       string      `json:"id"`
	Attached bool        `json:"attached"`         // it has a caller
	Result   *ExecResult `json:"result,omitempty"` // nil while it runs
	Stdout   int64       `json:"stdout"`           // bytes that it has written so far
	Stderr   int64       `json:"stderr"`
	Lost     int64       `json:"lost"` // bytes of both that are no longer kept
	// Secrets are those that it was given, for who keeps its output after somebody else.
	Secrets []string `json:"secrets,omitempty"`
}

// Signal asks for a signal to be sent to a command: to the foreground job of its terminal, if it has one,
// else to its process group. SIGKILL ends everything that the command has started.
type Signal struct {
	ID     string `json:"id"`
	Number int    `json:"number"`
}

// Resize tells a command's terminal its size.
type Resize struct {
	ID string `json:"id"`
	Size
}

// alphanumeric tells an ASCII letter or digit.
func alphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}
