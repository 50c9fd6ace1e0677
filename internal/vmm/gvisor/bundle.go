package gvisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pyro-mcp/pyro/internal/link"
	"github.com/pyro-mcp/pyro/internal/vmm"
)

// The parts of an OCI runtime's configuration that are used here.
type (
	config struct {
		Version     string            `json:"ociVersion"`
		Process     process           `json:"process"`
		Root        root              `json:"root"`
		Hostname    string            `json:"hostname"`
		Mounts      []mount           `json:"mounts"`
		Annotations map[string]string `json:"annotations"`
		Linux       linux             `json:"linux"`
	}
	process struct {
		User         user                `json:"user"`
		Args         []string            `json:"args"`
		Env          []string            `json:"env"`
		Dir          string              `json:"cwd"`
		Capabilities map[string][]string `json:"capabilities"`
	}
	user struct {
		UID int `json:"uid"`
		GID int `json:"gid"`
	}
	root struct {
		Path     string `json:"path"`
		Readonly bool   `json:"readonly"`
	}
	mount struct {
		Destination string   `json:"destination"`
		Type        string   `json:"type"`
		Source      string   `json:"source"`
		Options     []string `json:"options,omitempty"`
	}
	linux struct {
		Namespaces []namespace `json:"namespaces"`
		Resources  resources   `json:"resources"`
	}
	namespace struct {
		Type string `json:"type"`
	}
	resources struct {
		Memory memory `json:"memory"`
	}
	memory struct {
		Limit int64 `json:"limit"`
	}
)

// capabilities are what the guest's root may do in its own kernel, which is not the host's.
func capabilities() map[string][]string {
	all := strings.Fields("CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP " +
		"LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_CHROOT " +
		"SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE " +
		"AUDIT_WRITE AUDIT_CONTROL SETFCAP")
	for i := range all {
		all[i] = "CAP_" + all[i]
	}
	return map[string][]string{"bounding": all, "effective": all, "permitted": all}
}

// firstProcess gives the arguments and the environment of a guest's first process, the agent, as a kernel
// finds them in its command line: a name without a dot is a variable's.
func firstProcess(cmdline string) (args, env []string) {
	args, env = []string{"/init", link.Boxed}, []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	for word := range strings.FieldsSeq(cmdline) {
		if name, _, found := strings.Cut(word, "="); found && !strings.Contains(name, ".") {
			env = append(env, word)
		} else {
			args = append(args, word)
		}
	}
	return args, env
}

// bundle is the configuration of a guest.
func bundle(spec vmm.Spec) config {
	args, env := firstProcess(spec.Cmdline)
	return config{
		Version: "1.0.2",
		Process: process{
			Args:         args,
			Env:          env,
			Dir:          "/",
			Capabilities: capabilities(),
		},
		Root:     root{Path: "root", Readonly: true},
		Hostname: spec.Name,
		Mounts: []mount{
			{"/proc", "proc", "proc", nil},
			{"/base", "erofs", spec.Disks[0].Path, []string{"ro"}},
		},
		Annotations: map[string]string{
			"dev.gvisor.spec.rootfs.source": spec.Initrd,
			"dev.gvisor.spec.rootfs.type":   "erofs",
		},
		Linux: linux{
			Namespaces: []namespace{{"pid"}, {"ipc"}, {"uts"}, {"mount"}, {"network"}},
			Resources:  resources{memory{int64(spec.MemMiB) << 20}},
		},
	}
}

// usable refuses what runsc would be late in refusing.
func usable(spec vmm.Spec) error {
	if spec.Initrd == "" || len(spec.Disks) == 0 || spec.Disks[0].Path == "" || spec.Dir == "" {
		return errors.New("a guest needs an image to start on, one to run in and a directory")
	}
	// runsc would be late in telling.
	images := []string{spec.Initrd}
	for _, disk := range spec.Disks {
		images = append(images, disk.Path)
	}
	for _, path := range images {
		if info, err := os.Stat(path); err != nil {
			return fmt.Errorf("cannot use a guest's image: %w", err)
		} else if !info.Mode().IsRegular() {
			return fmt.Errorf("a guest's image %q is no file", path)
		}
	}
	return nil
}

// write writes a bundle into a directory.
func (c config) write(dir string) error {
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, c.Root.Path), 0o700); err != nil {
		return fmt.Errorf("cannot make the guest's bundle: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), data, 0o600)
}
