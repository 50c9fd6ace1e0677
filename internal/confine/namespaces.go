// Package confine has what a process gives up before it runs something foreign: namespaces, a view of the
// files, privileges, system calls, limits. Its users decide how much of it.
package confine

import "golang.org/x/sys/unix"

// Namespace is one kind of namespace, which the host may or may not grant, by its name for people.
type Namespace string

// The kinds of namespace.
const (
	User  Namespace = "user namespace"
	Mount Namespace = "mount namespace"
	PID   Namespace = "pid namespace"
	Net   Namespace = "network namespace"
	IPC   Namespace = "ipc namespace"
	UTS   Namespace = "uts namespace"
)

// All lists them in the order in which they are tried one by one: the first makes the others possible for
// those who are not root, and the third needs the second for a /proc of its own.
func All() []Namespace { return []Namespace{User, Mount, PID, Net, IPC, UTS} }

// Set gives the set that has this namespace alone.
func (n Namespace) Set() Namespaces {
	switch n {
	case User:
		return unix.CLONE_NEWUSER
	case Mount:
		return unix.CLONE_NEWNS
	case PID:
		return unix.CLONE_NEWPID
	case Net:
		return unix.CLONE_NEWNET
	case IPC:
		return unix.CLONE_NEWIPC
	case UTS:
		return unix.CLONE_NEWUTS
	}
	return 0
}

// Namespaces is a set of namespaces, as flags of clone.
type Namespaces uintptr

// Has tells whether the set has a namespace.
func (s Namespaces) Has(n Namespace) bool { return s&n.Set() != 0 }

// Every is the set of all namespaces.
func Every() (s Namespaces) {
	for _, n := range All() {
		s |= n.Set()
	}
	return s
}
