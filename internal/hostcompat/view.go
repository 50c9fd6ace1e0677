package hostcompat

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pyro-mcp/pyro/internal/link"
	"golang.org/x/sys/unix"
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

// visibleEtc are patterns for the parts of /etc that programs need and that tell nothing about the host's users and
// services.
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
		"passwd":        fmt.Sprintf("root:x:0:0:root:/root:/bin/sh\n%s:x:%d:%d::%s:/bin/sh\n", userName, id, id, homePath),
		"group":         fmt.Sprintf("root:x:0:\n%s:x:%d:\n", userName, id),
		"hosts":         "127.0.0.1 localhost " + s.Hostname + "\n::1 localhost\n",
		"hostname":      s.Hostname + "\n",
		"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
		"resolv.conf":   "",
	}
}

// makeView gives this process, alone in its mount namespace, a root file system of its own: the host's programs
// to be read, the VM's own directories to be written, and nothing else. If proc is true it has a /proc of its
// own pid namespace, else the host's.
func makeView(s settings, proc bool) error {
	const staging, old = "/tmp", ".host"
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("cannot make the mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", staging, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=4m,mode=755"); err != nil {
		return fmt.Errorf("cannot mount a new root: %w", err)
	}
	if err := os.Mkdir(filepath.Join(staging, old), 0o755); err != nil {
		return err
	}
	if err := unix.PivotRoot(staging, filepath.Join(staging, old)); err != nil {
		return fmt.Errorf("cannot change the root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	v := view{host: "/" + old}
	v.programs()
	v.etc(s)
	v.own(s)
	v.dev()
	v.proc(proc)
	v.do(unix.Unmount(v.host, unix.MNT_DETACH), "unmount the host's files")
	v.do(os.Remove(v.host), "remove the mount point of the host's files")
	v.do(unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, ""), "make the root read-only")
	return v.err
}

// view builds a root file system; the first failure stands, and nothing is done after it.
type view struct {
	host string // where the host's root is
	err  error
}

func (v *view) do(err error, what string) {
	if v.err == nil && err != nil {
		v.err = fmt.Errorf("cannot %s: %w", what, err)
	}
}

// show makes the host's path readable under the same name. What the host lacks is left out, and a symbolic
// link stays one.
func (v *view) show(path string) {
	info, err := os.Lstat(v.host + path)
	if v.err != nil || errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return
	}
	if err != nil {
		v.do(err, "look at "+path)
		return
	}
	if info.Mode()&os.ModeSymlink != 0 {
		target, err := os.Readlink(v.host + path)
		v.do(err, "read the link "+path)
		v.do(os.MkdirAll(filepath.Dir(path), 0o755), "make the directory of "+path)
		v.do(os.Symlink(target, path), "make the link "+path)
		return
	}
	v.bind(v.host+path, path, info.IsDir(), unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOSUID)
}

// bind mounts source at path with more attributes.
func (v *view) bind(source, path string, dir bool, attr uint64) {
	v.point(path, dir)
	if v.err != nil {
		return
	}
	v.do(unix.Mount(source, path, "", unix.MS_BIND|unix.MS_REC, ""), "bind "+path)
	v.attributes(path, attr)
}

func (v *view) attributes(path string, attr uint64) {
	if v.err != nil {
		return
	}
	err := unix.MountSetattr(unix.AT_FDCWD, path, unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: attr})
	v.do(err, "protect "+path)
}

// point makes something to mount on.
func (v *view) point(path string, dir bool) {
	if v.err != nil {
		return
	}
	if dir {
		v.do(os.MkdirAll(path, 0o755), "make the directory "+path)
		return
	}
	v.do(os.MkdirAll(filepath.Dir(path), 0o755), "make the directory of "+path)
	v.file(path, "")
}

func (v *view) file(path, content string) {
	if v.err == nil {
		v.do(os.WriteFile(path, []byte(content), 0o644), "write "+path)
	}
}

func (v *view) programs() {
	for _, path := range visible {
		v.show(path)
	}
}

func (v *view) etc(s settings) {
	for _, pattern := range visibleEtc {
		found, _ := filepath.Glob(v.host + "/etc/" + pattern)
		for _, path := range found {
			v.show(strings.TrimPrefix(path, v.host))
		}
	}
	v.point("/etc", true)
	for name, content := range etcFiles(s) {
		v.file("/etc/"+name, content)
	}
}

// own mounts the VM's directories: by the file descriptor of a detached mount where root has made one, because
// the user that this is by now may not reach the path.
func (v *view) own(s settings) {
	for i, d := range ownDirs {
		if v.err != nil {
			return
		}
		v.point(d.path, true)
		if s.MountFDs > 0 {
			fd := firstMountFD + i
			v.do(unix.MoveMount(fd, "", unix.AT_FDCWD, d.path, unix.MOVE_MOUNT_F_EMPTY_PATH), "mount "+d.path)
			v.attributes(d.path, unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOSUID)
			v.do(unix.Close(fd), "close the mount of "+d.path)
			continue
		}
		v.bind(filepath.Join(v.host, s.Dir, d.name), d.path, true, unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOSUID)
	}
	v.point("/var", true)
	v.point("/run", true)
	if v.err == nil {
		v.do(os.Symlink(tempPath, "/var/tmp"), "make the link /var/tmp")
	}
}

func (v *view) dev() {
	for _, name := range devices {
		if _, err := os.Stat(v.host + "/dev/" + name); err == nil {
			v.bind(v.host+"/dev/"+name, "/dev/"+name, false, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
		}
	}
	v.point("/dev/shm", true)
	v.point("/dev/pts", true)
	if v.err != nil {
		return
	}
	v.do(unix.Mount("tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=256m,mode=1777"), "mount /dev/shm")
	// A host may refuse terminals; only few commands want one.
	_ = unix.Mount("devpts", "/dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
		"stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx"} {
		v.do(os.Symlink(target, "/dev/"+name), "make the link /dev/"+name)
	}
}

func (v *view) proc(own bool) {
	v.point("/proc", true)
	if v.err != nil {
		return
	}
	if own {
		v.do(unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""), "mount /proc")
		return
	}
	v.do(unix.Mount(v.host+"/proc", "/proc", "", unix.MS_BIND|unix.MS_REC, ""), "bind /proc")
}
