package debian

import (
	_ "embed" // for the script
	"slices"
	"strings"
)

//go:embed configure.sh
var configureScript string

// configureFor is the script that configures the packages, in this order. Of the scripts that dpkg runs
// before it unpacks a package, those are run late that have anything to do for a new one.
func configureFor(packages []*unpacked, upgrades []string) string {
	var preinst, configure []string
	for _, u := range packages {
		if u.hasScript() {
			configure = append(configure, u.instance())
		}
		if script := u.files["preinst"]; script != nil && !onlyUpgrades(script) &&
			!slices.Contains(upgrades, u.name) {
			preinst = append(preinst, u.instance())
		}
	}
	return "preinst='" + strings.Join(preinst, " ") + "'\nconfigure='" + strings.Join(configure, " ") +
		"'\n" + configureScript
}

// onlyUpgrades tells whether a script has nothing to do if the package was never installed before: its
// only commands are dpkg-maintscript-helper's, which move what older versions left.
func onlyUpgrades(script []byte) bool {
	for line := range strings.Lines(string(script)) {
		switch line = strings.TrimSpace(line); {
		case line == "", line == "set -e", line == "exit 0", strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "dpkg-maintscript-helper ") && !strings.ContainsAny(line, ";|&`"):
		default:
			return false
		}
	}
	return true
}
