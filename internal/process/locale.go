package process

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
)

// TerminalEnv is what a terminal adds to a command's variables: its type, and its locale if that is installed
// here.
func TerminalEnv(kind, locale string) []string {
	if kind == "" {
		kind = "xterm-256color"
	}
	vars := []string{"TERM=" + kind}
	if locale != "" && hasLocale("/usr/lib/locale", locale) {
		vars = append(vars, "LANG="+locale)
	}
	return vars
}

// hasLocale tells whether programs here could use a locale. One that is missing would have many of them
// complain.
func hasLocale(dir, name string) bool {
	if name == "C" || name == "POSIX" || strings.ContainsAny(name, "/\x00") {
		return name == "C" || name == "POSIX"
	}
	language, charset, _ := strings.Cut(name, ".")
	charset = strings.ToLower(strings.ReplaceAll(charset, "-", ""))
	for _, each := range []string{name, language + "." + charset} {
		if info, err := os.Stat(filepath.Join(dir, each)); err == nil && info.IsDir() {
			return true
		}
	}
	const mostOfArchive = 1 << 20 // Its names stand in front.
	f, err := os.Open(filepath.Join(dir, "locale-archive"))
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, mostOfArchive)
	n, _ := f.ReadAt(head, 0)
	return bytes.Contains(head[:n], []byte(language+"."+charset+"\x00"))
}
