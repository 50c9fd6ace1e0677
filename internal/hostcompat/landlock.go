package hostcompat

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// Versions of Landlock from which on it can stand in for a namespace that the host refuses.
const (
	landlockTruncates = 3 // before it, a file outside can be emptied
	landlockScopes    = 6 // signals and abstract sockets stay inside
)

// landlockVersion is the kernel's, 0 where it has none.
func landlockVersion() int {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(version)
}

// restrictFiles lets this process, and all that it starts, read programs and write the VM's own directories only.
// In a view of its own it is a second wall behind the first. Where the kernel lacks Landlock it does nothing.
func restrictFiles(l layers, own places) error {
	writable := landlock.RWDirs(own.Workspace, own.Home, own.Temp, "/dev/shm", "/dev/pts").WithRefer().WithIoctlDev().
		WithResolveUnix().IgnoreIfMissing()
	rules := []landlock.Rule{writable}
	for _, name := range devices {
		rules = append(rules, landlock.RWFiles("/dev/"+name).WithIoctlDev().IgnoreIfMissing())
	}
	if l.has(layerMount) {
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
		for _, name := range []string{"passwd", "group", "nsswitch.conf", "hosts", "profile", "profile.d", "bash.bashrc", "bashrc"} {
			rules = append(rules, readable("/etc/"+name))
		}
	}
	if l.has(layerPID) {
		rules = append(rules, landlock.RWDirs("/proc"))
	}
	config := landlock.V9
	err := config.BestEffort().RestrictPaths(rules...)
	if err == nil && !l.has(layerNet) {
		err = config.BestEffort().RestrictNet()
	}
	if err == nil && !(l.has(layerPID) && l.has(layerNet)) {
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
