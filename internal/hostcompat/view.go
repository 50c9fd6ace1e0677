package hostcompat

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pyro-mcp/pyro/internal/link"
	"golang.org/x/sys/unix"

	"github.com/pyro-mcp/pyro/internal/confine"
)

// Where a command finds its own directories when it has a view of its own.
const (
	workspacePath = link.Workspace
	homePath      = "/home/" + userName
	tempPath      = "/tmp"
)

const (
	userName = "pyro" // what the view calls the one user in it
	userID   = 1000   // not 0: nothing in the view can be done as root, and programs should not think so
)

// visible are the host's directories that commands may read: its programs.
var visible = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix", "/gnu"}

// visibleEtc are patterns for the parts of /etc that programs need and that tell nothing about the host's
// users and services.
var visibleEtc = strings.Fields(`alternatives bash_completion.d ca-certificates* crypto-policies
	debian_version default/locale fonts gitconfig gnutls inputrc java-* ld.so.* lsb-release locale.* localtime magic* manpath.config
	maven mime.types nanorc *-release perl pki protocols python* rpc services sgml shells skel ssl/certs
	ssl/openssl.cnf terminfo timezone vim xml`)

// devices are the nodes of /dev that commands get.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

// etcFiles are the files of /etc that are written anew, for the host's tell who uses it.
func etcFiles(s settings) map[string]string {
	id := userID
	if s.DropTo > 0 {
		id = s.DropTo
	}
	return map[string]string{
		"passwd": fmt.Sprintf("root:x:0:0:root:/root:/bin/sh\n%s:x:%d:%d::%s:/bin/sh\n", userName, id,
			id, homePath),
		"group":         fmt.Sprintf("root:x:0:\n%s:x:%d:\n", userName, id),
		"hosts":         "127.0.0.1 localhost " + s.Hostname + "\n::1 localhost\n",
		"hostname":      s.Hostname + "\n",
		"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
		"resolv.conf":   "",
	}
}

// makeView gives this process, alone in its mount namespace, a root file system of its own: the host's
// programs to be read, the VM's own directories to be written, and nothing else. If proc is true it has a
// /proc of its own pid namespace, else the host's.
func makeView(s settings, proc bool) error {
	base, err := confine.NewView()
	if err != nil {
		return err
	}
	v := view{base}
	v.programs()
	v.etc(s)
	v.own(s)
	v.dev()
	v.proc(proc)
	return v.Seal()
}

// view is a root file system with a place for each of the VM's directories.
type view struct{ *confine.View }

func (v *view) programs() {
	for _, path := range visible {
		v.Show(path)
	}
}

func (v *view) etc(s settings) {
	for _, pattern := range visibleEtc {
		found, _ := filepath.Glob(v.Host + "/etc/" + pattern)
		for _, path := range found {
			v.Show(strings.TrimPrefix(path, v.Host))
		}
	}
	v.Point("/etc", true)
	for name, content := range etcFiles(s) {
		v.File("/etc/"+name, content)
	}
}

// own mounts the VM's directories: by the file descriptor of a detached mount if root has made one,
// because the user that this is by now may not reach the path.
func (v *view) own(s settings) {
	for i, d := range ownDirs {
		if v.Err() != nil {
			return
		}
		v.Point(d.path, true)
		if s.MountFDs > 0 {
			fd := firstMountFD + i
			v.Do(unix.MoveMount(fd, "", unix.AT_FDCWD, d.path, unix.MOVE_MOUNT_F_EMPTY_PATH), "mount "+d.path)
			v.Protect(d.path, unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOSUID)
			v.Do(unix.Close(fd), "close the mount of "+d.path)
			continue
		}
		v.Bind(filepath.Join(v.Host, s.Dir, d.name), d.path, true,
			unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOSUID)
	}
	v.Point("/var", true)
	v.Point("/run", true)
	if v.Err() == nil {
		v.Do(os.Symlink(tempPath, "/var/tmp"), "make the link /var/tmp")
	}
}

func (v *view) dev() {
	for _, name := range devices {
		if _, err := os.Stat(v.Host + "/dev/" + name); err == nil {
			v.Bind(v.Host+"/dev/"+name, "/dev/"+name, false, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
		}
	}
	v.Point("/dev/shm", true)
	v.Point("/dev/pts", true)
	if v.Err() != nil {
		return
	}
	v.Do(unix.Mount("tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=256m,mode=1777"),
		"mount /dev/shm")
	// A host may refuse terminals; only few commands want one.
	_ = unix.Mount("devpts", "/dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC,
		"newinstance,ptmxmode=0666,mode=620")
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0",
		"stdout": "/proc/self/fd/1",
		"stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx"} {
		v.Do(os.Symlink(target, "/dev/"+name), "make the link /dev/"+name)
	}
}

func (v *view) proc(own bool) {
	v.Point("/proc", true)
	if v.Err() != nil {
		return
	}
	if own {
		v.Do(unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""),
			"mount /proc")
		return
	}
	v.Do(unix.Mount(v.Host+"/proc", "/proc", "", unix.MS_BIND|unix.MS_REC, ""), "bind /proc")
}
