package pyro

import (
	"errors"
	"strings"
)

// Remedy says what to do about a failure of a kind, or of a cause, which is told more closely. Its words
// are no face's: a [Wording] puts each face's own in place of what stands in braces.
//
//	{mem_mib}              a parameter
//	{do:list_vms}          "do this operation", in the imperative; doctor is one for this purpose
//	{set:max_active_vms}   one of the engine's options
type Remedy struct {
	Kind  error  // of a failure without a cause that has a row
	Cause string // of a failure, or of a command's end; "" is any
	Text  string // "" if there is nothing that a person would not do by himself
	Model string // said to a model besides
}

// Wording is how a face says what a [Remedy] leaves to it.
type Wording struct {
	Parameter func(name string) string
	Do        func(operation string) string
	Setting   func(option string) string
	Model     bool // speaks to a model: nothing goes without saying
}

// Remedies is the one table of what to do about failures.
func Remedies() []Remedy {
	return []Remedy{
		{Cause: "timeout", Text: "raise it with {timeout_seconds}"},
		{Cause: "guest_memory", Text: "raise it with {mem_mib}"},
		{Cause: "guest_disk", Text: "raise its size with {disk_mib}"},
		{Cause: "guest_ended", Text: "run the command again"},
		{Cause: "guest_stuck", Text: "run the command again"},
		{Cause: "panic", Text: "run the command again"},
		{Cause: "protocol", Text: "run the command again"},
		{Cause: "killed", Text: "give VMs less with {mem_mib}, or end other programs on the host"},
		{Cause: "host_memory", Text: "ask for less with {mem_mib}, or end other VMs"},
		{Cause: "host_disk", Text: "free disk space on the host; to remove what nothing uses, " +
			"{do:prune_environments}"},
		{Cause: "no_agent", Text: "use a released pyro, or build it with make build"},
		{Cause: "no_vmm", Text: "{do:doctor} to see what this host lacks"},
		{Cause: "no_kvm", Text: "leave {set:accelerator} at auto, or {do:doctor} to see what " +
			"this host lacks"},
		{Cause: "port", Text: "choose another port with {publish}, or end what listens on this one"},
		{Cause: "not_started", Text: "to start it, {do:start_vm}"},
		{Cause: "deleted", Text: "create another one"},
		{Cause: "stopped"},
		{Cause: "paused"},
		{Cause: "caller_gone"},
		{Cause: "no_instance", Text: "to see those there are, {do:list_vms}",
			Model: "use an id that a create tool returned, or create a new one"},
		{Cause: "expired", Text: "create another one, with a longer {ttl_seconds} if it is to wait longer"},
		{Cause: "max_active", Text: "delete one that is not needed, wait longer with {wait_seconds}, " +
			"or raise the limit with {set:max_active_vms}",
			Model: "to remove what has expired, {do:reap_expired}"},
		{Cause: "max_snapshots", Text: "delete one that is not needed (to see what they take, " +
			"{do:list_snapshots}), or raise the limit with {set:snapshots_max_bytes}"},
		{Cause: "no_program", Text: "put pyro on PATH, or name it with {set:command}"},
		{Cause: "supervisor", Text: "try again, or delete it"},
		{Cause: "bad_record", Text: "delete it, or use the version of pyro that wrote it"},
		{Cause: "unknown_environment", Text: "to see those there are, {do:list_environments}"},
		{Cause: "no_snapshot", Text: "to see those there are, {do:list_snapshots}"},
		{Cause: "other_snapshot", Text: "to have a task of its own go on from there, {do:fork_task}"},
		{Cause: "not_installed", Text: "to install it, {do:pull_environment}"},
		{Cause: "seed_limit", Text: "raise the limits with {set:seed_max_bytes} and {set:seed_max_entries}"},
		{Cause: "damaged", Text: "to have it made again, {do:pull_environment}"},
		{Cause: "untrusted_directory", Text: "name directories of your own with {set:cache_dir} " +
			"and {set:state_dir}"},
		{Cause: "network_directory", Text: "name directories on disks of this host with {set:cache_dir} " +
			"and {set:state_dir}"},
		{Cause: "no_directory", Text: "name the directories with {set:cache_dir} and {set:state_dir}"},

		{Kind: ErrInvalid, Model: "correct the arguments and call the tool again"},
		{Kind: ErrNotFound, Model: "use a name or an id that there is"},
		{Kind: ErrState, Model: "look at its state first: a VM must be started before a command runs in it"},
		{Kind: ErrLimitReached, Text: "delete what is not needed, then try again"},
		{Kind: ErrGuestUnavailable, Text: "{do:doctor} to see what this host lacks",
			Model: "set {allow_host_compat} only if the user agrees that commands run on the host itself"},
		{Kind: ErrGuestLost, Text: "run the command again, with more {mem_mib} if it needs much memory"},
		{Kind: ErrTimeout, Text: "raise it with {timeout_seconds}", Model: "or do less in one command"},
		{Kind: ErrBadSeed, Model: "name a directory, or a sound .tar, .tar.gz or .tgz without " +
			"entries that lead outside it"},
		{Kind: ErrNoSpace, Text: "free disk space on the host; to remove what nothing uses, " +
			"{do:prune_environments}"},
		{Kind: ErrEnvironment, Text: "see that the mirror or registry that it names can be " +
			"reached, then try again"},
	}
}

// ErrorRemedy says what to do about an error in a face's words, or "".
func ErrorRemedy(err error, w Wording) string {
	var own *Error
	if errors.As(err, &own) && own.Hint != "" {
		return w.render(own.Hint)
	}
	if r, ok := remedyFor(ErrorCause(err)); ok {
		return r.in(w)
	}
	for _, r := range Remedies() {
		if r.Kind != nil && errors.Is(err, r.Kind) {
			return r.in(w)
		}
	}
	return ""
}

// CauseRemedy says what to do about an [Output]'s cause in a face's words, or "".
func CauseRemedy(cause string, w Wording) string {
	r, _ := remedyFor(cause)
	return r.in(w)
}

func remedyFor(cause string) (Remedy, bool) {
	for _, r := range Remedies() {
		if cause != "" && r.Cause == cause {
			return r, true
		}
	}
	return Remedy{}, false
}

func (r Remedy) in(w Wording) string {
	text := r.Text
	if w.Model && r.Model != "" {
		text = strings.Trim(text+"; "+r.Model, "; ")
	}
	return w.render(text)
}

// render puts a face's words in place of what stands in braces.
func (w Wording) render(text string) string {
	var out strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "{")
		name, after, closed := strings.Cut(rest, "}")
		out.WriteString(before)
		if !ok || !closed {
			return out.String()
		}
		text = after
		switch kind, operation, _ := strings.Cut(name, ":"); kind {
		case "do":
			out.WriteString(w.Do(operation))
		case "set":
			out.WriteString(w.Setting(operation))
		default:
			out.WriteString(w.Parameter(name))
		}
	}
}

// goWording words remedies for programs in Go.
func goWording() Wording {
	return Wording{
		Parameter: goName,
		Do: func(operation string) string {
			if operation == "doctor" {
				return "run 'pyro doctor'"
			}
			return "call " + goName(operation)
		},
		Setting: func(option string) string {
			if strings.HasPrefix(option, "seed_") {
				return settingVariable(option)
			}
			return "With" + goName(option)
		},
	}
}

// goName is a name of the contract in Go's case.
func goName(name string) string {
	var out strings.Builder
	for word := range strings.SplitSeq(name, "_") {
		switch word {
		case "vm", "vms", "mib", "ttl", "vcpu", "id":
			fixed := map[string]string{
				"vm": "VM", "vms": "VMs", "mib": "MiB", "ttl": "TTL", "vcpu": "VCPU", "id": "ID",
			}
			out.WriteString(fixed[word])
		case "":
		default:
			out.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return out.String()
}

// settingVariable is the variable of the environment that sets an option.
func settingVariable(option string) string { return "PYRO_" + strings.ToUpper(option) }

// ErrorHint says what to do about an error, in the words of this package, or "". Other faces word it by
// [ErrorRemedy].
func ErrorHint(err error) string { return ErrorRemedy(err, goWording()) }
