package debian

import (
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Debian's public archives. Those in the built environments' own apt sources are the ones Debian itself
// writes there.
const (
	publicArchive  = "http://ftp.debian.org/debian"
	publicSecurity = "http://security.debian.org/debian-security"
	aptArchive     = "http://deb.debian.org/debian"
	aptSecurity    = "http://deb.debian.org/debian-security"
)

// mirrors are the addresses to try for a suite's archives, the best first.
type mirrors struct {
	archive, security []string
}

// findMirrors chooses by the request, else by what the host's apt uses, else Debian's own.
func findMirrors(requested, aptDir, codename string) mirrors {
	var m mirrors
	host := hostSources(aptDir)
	if requested = strings.TrimRight(requested, "/"); requested != "" {
		m.archive = []string{requested}
		// A mirror of the archive mostly has the security archive beside it.
		m.security = append(m.security, strings.TrimSuffix(requested, "/debian")+"/debian-security")
	} else {
		m.archive = append(pick(host, codename, "debian"), publicArchive)
	}
	m.security = append(m.security, pick(host, codename+"-security", "debian-security")...)
	m.security = append(m.security, publicSecurity)
	return m
}

// pick returns the addresses of the sources for a suite; without any, of those for other suites of the same
// archive.
func pick(sources []aptSource, codename, directory string) []string {
	var same, other []string
	for _, s := range sources {
		debian := path.Base(s.uri) == directory
		switch {
		case !slices.Contains(s.components, "main"):
		case slices.Contains(s.suites, codename) && debian:
			same = append(same, s.uri)
		case debian:
			other = append(other, s.uri)
		}
	}
	if len(same) == 0 {
		same = other
	}
	slices.Sort(same)
	return slices.Compact(same)
}

// aptSource is one place that apt fetches binary packages from.
type aptSource struct {
	uri        string
	suites     []string
	components []string
}

// maxSources bounds a file of sources.
const maxSources = 1 << 20

// hostSources reads what apt on this host uses. What it cannot read it takes as not there.
func hostSources(dir string) []aptSource {
	var all []aptSource
	names, _ := filepath.Glob(filepath.Join(dir, "sources.list.d", "*"))
	for _, name := range append([]string{filepath.Join(dir, "sources.list")}, names...) {
		info, err := os.Stat(name)
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxSources {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		switch filepath.Ext(name) {
		case ".list":
			all = append(all, parseList(string(data))...)
		case ".sources":
			all = append(all, parseSources(data)...)
		}
	}
	return all
}

// parseList reads the one-line format: deb [options] URI suite components.
func parseList(data string) []aptSource {
	var all []aptSource
	for line := range strings.Lines(data) {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb")
		if !ok {
			continue
		}
		if open, after, ok := strings.Cut(rest, "["); ok && strings.TrimSpace(open) == "" {
			_, after, _ = strings.Cut(after, "]")
			rest = " " + after
		}
		f := strings.Fields(rest)
		if len(f) < 3 || !strings.HasPrefix(rest, " ") && !strings.HasPrefix(rest, "\t") {
			continue
		}
		all = appendSource(all, f[0], f[1:2], f[2:])
	}
	return all
}

// parseSources reads the format of paragraphs.
func parseSources(data []byte) []aptSource {
	var all []aptSource
	for {
		var first []byte
		first, data = cutParagraph(data)
		if len(first) == 0 {
			return all
		}
		p, err := parseParagraph(first)
		if err != nil || p.get("Enabled") == "no" || !slices.Contains(strings.Fields(p.get("Types")), "deb") {
			continue
		}
		for _, uri := range strings.Fields(p.get("URIs")) {
			all = appendSource(all, uri, strings.Fields(p.get("Suites")), strings.Fields(p.get("Components")))
		}
	}
}

// appendSource leaves out what is not fetched over HTTP.
func appendSource(all []aptSource, uri string, suites, components []string) []aptSource {
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return all
	}
	return append(all, aptSource{strings.TrimRight(uri, "/"), suites, components})
}
