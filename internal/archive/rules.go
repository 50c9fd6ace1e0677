package archive

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
)

const (
	maxName   = 255
	maxPath   = 4095
	maxTarget = 4095
	// maxDepth bounds the directories that are open at once.
	maxDepth = 512
)

// kind is what an entry is, and what stands at a path of the tree that is carried.
type kind uint8

const (
	nothing kind = iota
	directory
	file
	symbolicLink
	hardLink   // of an entry alone: what it makes is a file
	sparseFile // likewise
	fileHead   // a file without its content, if only its attributes are asked for
	kindMask   = 1<<3 - 1
	// pinned is a path that must not become a link, since the target of another passes through it and goes
	// back up.
	pinned kind = 1 << 3
)

// rules judge the entries of one tree, in their order, on each side of a transfer. They keep a hash of each
// path, not the path, so that a million entries cost some 20 MB; the hash's seed is random, so that nobody
// can aim at a clash.
type rules struct {
	limits  Limits
	sum     Summary
	implied int64 // directories without an entry, and pins
	seed    maphash.Seed
	kinds   map[uint64]kind
	parent  string // that was judged last
	heads   bool   // files may come without their contents
	links   Links
}

// Links says which targets a symbolic link may have. None is ever followed, here or there: it is about
// what the links are good for where they arrive.
type Links int

// The kinds of targets.
const (
	linksInside   Links = iota // those that stay in the tree, or go to the Destination
	LinksAbsolute              // and every absolute one, which means a path of the guest's
	LinksAny                   // all: what is carried is a part of a system
)

func newRules(l Limits) *rules {
	return &rules{limits: l.withDefaults(), seed: maphash.MakeSeed(), kinds: map[uint64]kind{}}
}

func refuse(entry, reason string, args ...any) error {
	return &RefusedError{Entry: entry, Reason: fmt.Sprintf(reason, args...)}
}

// admit judges an entry and makes its path clean, without "." and doubled slashes, and a hard link's target
// as well. It tells whether the entry is to be carried: the root itself is not.
func (r *rules) admit(e *entry) (bool, error) {
	parts, err := r.clean(e.name, e.name, "its path")
	if err != nil {
		return false, err
	}
	if len(parts) == 0 {
		if e.kind != directory {
			return false, refuse(e.name, "only a directory can be the root")
		}
		return false, nil
	}
	name := strings.Join(parts, "/")
	if err := r.above(e.name, parts[:len(parts)-1]); err != nil {
		return false, err
	}
	key := r.hash(name)
	here := r.kinds[key]
	if e.kind != directory && here&kindMask == directory {
		return false, refuse(e.name, "it would replace a directory")
	}
	is := e.kind
	switch e.kind {
	case directory:
		e.link = "" // which a tar may give to anything
	case file, sparseFile:
		is, e.link = file, ""
		if e.size < 0 || e.size > r.limits.MaxBytes-r.sum.Bytes {
			return false, fmt.Errorf("entry %q: %w of %d bytes", e.name, ErrLimit, r.limits.MaxBytes)
		}
		r.sum.Bytes += e.size
	case fileHead:
		if is = file; !r.heads {
			return false, refuse(e.name, "it comes without its content")
		}
	case symbolicLink:
		err = r.symlink(e.name, parts[:len(parts)-1], e.link)
		here = r.kinds[key] // the target may have pinned it
		if err == nil && here&pinned != 0 {
			err = refuse(e.name, "another link leads up through it")
		}
	case hardLink:
		is = file
		e.link, err = r.hardLink(e, name)
	default:
		err = refuse(e.name, "its kind %d is not one that can be carried", e.kind)
	}
	if err != nil {
		return false, err
	}
	r.kinds[key] = here&pinned | is
	r.sum.Entries++
	err = r.count(e.name)
	e.name = name
	return err == nil, err
}

func (r *rules) count(entry string) error {
	if r.sum.Entries+r.implied > r.limits.MaxEntries {
		return fmt.Errorf("entry %q: %w of %d entries", entry, ErrLimit, r.limits.MaxEntries)
	}
	return nil
}

func (r *rules) hash(path string) uint64 { return maphash.String(r.seed, path) }

// clean splits a path that must stay below the root.
func (r *rules) clean(entry, path, what string) ([]string, error) {
	switch {
	case strings.HasPrefix(path, "/"):
		return nil, refuse(entry, "%s is absolute", what)
	case len(path) > maxPath:
		return nil, refuse(entry, "%s has %d bytes, more than %d", what, len(path), maxPath)
	case strings.IndexByte(path, 0) >= 0:
		return nil, refuse(entry, "%s has a zero byte", what)
	}
	var parts []string
	for part := range strings.SplitSeq(path, "/") {
		switch {
		case part == "" || part == ".":
		case part == "..":
			return nil, refuse(entry, `%s has ".."`, what)
		case len(part) > maxName:
			return nil, refuse(entry, "%s has a name of %d bytes, more than %d", what, len(part), maxName)
		default:
			parts = append(parts, part)
		}
	}
	if len(parts) > maxDepth {
		return nil, refuse(entry, "%s is %d directories deep, more than %d", what, len(parts), maxDepth)
	}
	return parts, nil
}

// above judges the directories above an entry, which need not have entries of their own.
func (r *rules) above(entry string, parts []string) error {
	whole := strings.Join(parts, "/")
	if whole == r.parent {
		return nil
	}
	for end := range len(whole) + 1 {
		if end == 0 || end < len(whole) && whole[end] != '/' {
			continue
		}
		key := r.hash(whole[:end])
		switch here := r.kinds[key]; here & kindMask {
		case file:
			return refuse(entry, "%q above it is not a directory", whole[:end])
		case symbolicLink:
			return refuse(entry, "%q above it is a symbolic link", whole[:end])
		case nothing:
			r.kinds[key] = here | directory
			r.implied++
			if err := r.count(entry); err != nil {
				return err
			}
		}
	}
	r.parent = whole
	return nil
}

// hardLink judges a hard link and returns its target.
func (r *rules) hardLink(e *entry, name string) (string, error) {
	parts, err := r.clean(e.name, e.link, fmt.Sprintf("its hard link target %q", e.link))
	if err != nil {
		return "", err
	}
	target := strings.Join(parts, "/")
	if target == name {
		return "", refuse(e.name, "it is a hard link to itself")
	}
	switch r.kinds[r.hash(target)] & kindMask {
	case file:
		return target, nil
	case nothing:
		return "", refuse(e.name, "its hard link target %q is no earlier entry", e.link)
	default:
		return "", refuse(e.name, "its hard link target %q is not a regular file", e.link)
	}
}

// symlink judges the target of a link in the directory above. It is followed by name alone, which tells where
// it leads because the directories above an entry are none but directories, and because a name that the
// target goes back up from is pinned: neither is nor becomes a link.
func (r *rules) symlink(entry string, above []string, target string) error {
	if target == "" || len(target) > maxTarget || strings.IndexByte(target, 0) >= 0 {
		return refuse(entry, "its link target has %d bytes or a zero byte", len(target))
	}
	if r.links == LinksAny || r.links == LinksAbsolute && target[0] == '/' {
		return nil
	}
	outside := refuse(entry, "its link target %q leads outside", target)
	at, known := slices.Clone(above), len(above)
	if rest, ok := strings.CutPrefix(target, "/"); ok {
		first, below, _ := strings.Cut(strings.TrimLeft(rest, "/"), "/")
		if "/"+first != Destination {
			return outside
		}
		target, at, known = below, nil, 0
	}
	for part := range strings.SplitSeq(target, "/") {
		switch {
		case part == "" || part == ".":
		case part != "..":
			at = append(at, part)
		case len(at) == 0:
			return outside
		default:
			if err := r.pin(entry, at, known); err != nil {
				return err
			}
			at = at[:len(at)-1]
			known = min(known, len(at))
		}
	}
	return nil
}

// pin sees to it that none of the paths that at leads through, beyond the first known parts, is a link.
func (r *rules) pin(entry string, at []string, known int) error {
	for n := known + 1; n <= len(at); n++ {
		key := r.hash(strings.Join(at[:n], "/"))
		here := r.kinds[key]
		if here&kindMask == symbolicLink {
			return refuse(entry, "its link target goes up from the link %q", strings.Join(at[:n], "/"))
		}
		if here&pinned == 0 {
			r.kinds[key] = here | pinned
			r.implied++
		}
	}
	return r.count(entry)
}
