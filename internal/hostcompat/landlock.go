package hostcompat

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/landlock-lsm/go-landlock/landlock"

	"github.com/pyro-mcp/pyro/internal/confine"
)

// restrictFiles lets this process, and all that it starts, read programs and write the VM's own directories
// only. In a view of its own it is a second wall behind the first. If the kernel lacks Landlock it does
// nothing.
func restrictFiles(l confine.Namespaces, own places) error {
	writable := landlock.RWDirs(own.Workspace, own.Home, own.Temp, "/dev/shm",
		"/dev/pts").WithRefer().WithIoctlDev().
		WithResolveUnix().IgnoreIfMissing()
	rules := []landlock.Rule{writable}
	for _, name := range devices {
		rules = append(rules, landlock.RWFiles("/dev/"+name).WithIoctlDev().IgnoreIfMissing())
	}
	if l.Has(confine.Mount) {
		rules = append(rules, landlock.RODirs("/"))
	} else {
		rules = append(rules, landlock.RODirs(visible...).IgnoreIfMissing())
		for _, pattern := range visibleEtc {
			found, _ := filepath.Glob("/etc/" + pattern)
			for _, path := range found {
				rules = append(rules, readable(path))
			}
		}
		// A view has its own of these.
		for _, name := range []string{"passwd", "group", "nsswitch.conf", "hosts", "profile", "profile.d",
			"bash.bashrc", "bashrc"} {
			rules = append(rules, readable("/etc/"+name))
		}
	}
	if l.Has(confine.PID) {
		rules = append(rules, landlock.RWDirs("/proc"))
	}
	config := landlock.V9
	err := config.BestEffort().RestrictPaths(rules...)
	if err == nil && !l.Has(confine.Net) {
		err = config.BestEffort().RestrictNet()
	}
	if err == nil && !(l.Has(confine.PID) && l.Has(confine.Net)) {
		err = config.BestEffort().RestrictScoped()
	}
	if err != nil {
		return fmt.Errorf("cannot restrict files with Landlock: %w", err)
	}
	return nil
}

// readable is the rule for a directory or a file.
func readable(path string) landlock.FSRule {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return landlock.RODirs(path).IgnoreIfMissing()
	}
	return landlock.ROFiles(path).IgnoreIfMissing()
}
