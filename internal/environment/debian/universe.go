package debian

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// binary is one package of an index.
type binary struct {
	name, version, arch    string
	filename, sha256, base string // base is the address that filename is relative to
	size                   int64
	priority               string
	essential              bool
	anyArch                bool // Multi-Arch: allowed, what NAME:any asks for
	depends                []clause
	conflicts              []relation // Conflicts and Breaks
	provides               []relation
}

func (b *binary) String() string { return b.name + " (" + b.version + ")" }

// universe is all that can be chosen from. Packages are read out of the indexes when they are asked for.
type universe struct {
	arch      string
	raw       map[string][]listed // by name
	providers map[string][]string // names of the packages that provide a name
	known     map[string][]*binary
}

// listed is a paragraph of an index, unread.
type listed struct {
	data []byte
	base string
}

func newUniverse(arch string) *universe {
	return &universe{
		arch:      arch,
		raw:       map[string][]listed{},
		providers: map[string][]string{},
		known:     map[string][]*binary{},
	}
}

// maxPackages bounds an index; Debian's largest has some 65,000.
const maxPackages = 1_000_000

// add takes in an index, whose files lie under base. The data must not change afterwards.
func (u *universe) add(index []byte, base string) error {
	for count := 0; ; count++ {
		var data []byte
		data, index = cutParagraph(index)
		if len(bytes.TrimSpace(data)) == 0 {
			return nil
		}
		name := quickField(data, "Package")
		if !isPackageName(name) || count > maxPackages {
			return fmt.Errorf("the index has a paragraph that is not of a package: %.80q", data)
		}
		u.raw[name] = append(u.raw[name], listed{data, base})
		provides := quickField(data, "Provides")
		if provides == "" {
			continue
		}
		relations, err := parseRelations(provides)
		if err != nil {
			return fmt.Errorf("package %q: %w", name, err)
		}
		for _, c := range relations {
			if p := c[0].name; !slices.Contains(u.providers[p], name) {
				u.providers[p] = append(u.providers[p], name)
			}
		}
	}
}

// versions returns a name's packages for the architecture, the highest version first. The first index that
// lists a version wins.
func (u *universe) versions(name string) ([]*binary, error) {
	if known, ok := u.known[name]; ok {
		return known, nil
	}
	var all []*binary
	for _, l := range u.raw[name] {
		b, err := parseBinary(l)
		if err != nil {
			return nil, fmt.Errorf("package %q: %w", name, err)
		}
		if b.arch == u.arch || b.arch == "all" {
			all = append(all, b)
		}
	}
	slices.SortStableFunc(all, func(a, b *binary) int { return compareVersions(b.version, a.version) })
	all = slices.CompactFunc(all, func(a, b *binary) bool { return a.version == b.version })
	u.known[name] = all
	return all, nil
}

func parseBinary(l listed) (*binary, error) {
	p, err := parseParagraph(l.data)
	if err != nil {
		return nil, err
	}
	b := &binary{
		name:      p.get("Package"),
		version:   p.get("Version"),
		arch:      p.get("Architecture"),
		filename:  p.get("Filename"),
		sha256:    strings.ToLower(p.get("SHA256")),
		base:      l.base,
		priority:  p.get("Priority"),
		essential: p.get("Essential") == "yes",
		anyArch:   p.get("Multi-Arch") == "allowed",
	}
	if err := checkVersion(b.version); err != nil {
		return nil, err
	}
	if err := checkDigest(b.sha256); err != nil {
		return nil, err
	}
	if b.filename == "" || path.IsAbs(b.filename) || path.Clean(b.filename) != b.filename ||
		strings.HasPrefix(b.filename, "..") {
		return nil, fmt.Errorf("the file name %q is refused", b.filename)
	}
	b.size, err = strconv.ParseInt(p.get("Size"), 10, 64)
	if err != nil || b.size <= 0 || b.size > maxDeb {
		return nil, fmt.Errorf("the size %q is refused", p.get("Size"))
	}
	return b, b.parseRelations(p)
}

// maxDeb bounds a package's file.
const maxDeb = 4 << 30

func (b *binary) parseRelations(p paragraph) error {
	for _, name := range []string{"Pre-Depends", "Depends"} {
		clauses, err := parseRelations(unfold(p.get(name)))
		if err != nil {
			return err
		}
		b.depends = append(b.depends, clauses...)
	}
	for name, list := range map[string]*[]relation{"Conflicts": &b.conflicts, "Breaks": &b.conflicts,
		"Provides": &b.provides} {
		clauses, err := parseRelations(unfold(p.get(name)))
		if err != nil {
			return err
		}
		for _, c := range clauses {
			*list = append(*list, c[0])
		}
	}
	return nil
}

func unfold(s string) string { return strings.ReplaceAll(s, "\n", " ") }

func checkDigest(s string) error {
	if raw, err := hex.DecodeString(s); err != nil || len(raw) != 32 {
		return fmt.Errorf("%.80q is not a SHA-256", s)
	}
	return nil
}

// satisfies tells whether the package, or a name that it provides, is what the relation asks for. A provided
// name without a version satisfies no relation with one.
func (b *binary) satisfies(r relation, arch string) bool {
	switch r.arch {
	case "", arch:
	case "any":
		if !b.anyArch {
			return false
		}
	default:
		return false
	}
	if b.name == r.name && r.allows(b.version) {
		return true
	}
	for _, p := range b.provides {
		if p.name == r.name && (r.op == "" || p.op == "=" && r.allows(p.version)) {
			return true
		}
	}
	return false
}
