package hostcompat

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/pyro-mcp/pyro/internal/confine"
)

// TestConfined tries what a command must not be able to do. Each attempt is proven to be a good one by doing
// it unconfined first.
func TestConfined(t *testing.T) {
	v := startVM(t)
	t.Log(v.Report())
	outside := t.TempDir()
	if err := os.Chmod(outside, 0o777); err != nil {
		t.Fatal(err)
	}
	secret := writeFile(t, outside+"/home/secret", "the caller's secret\n")
	existing := writeFile(t, outside+"/existing", "whole\n")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	other := exec.Command("sleep", "71.5")
	other.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := other.Process.Signal(syscall.Signal(0)); err != nil {
			t.Errorf("the host's process was ended: %v", err)
		}
		_ = other.Process.Kill()
		_ = other.Wait()
	}()

	for _, c := range []struct{ name, what, line string }{
		{"read the caller's files", "files", "cat " + secret},
		{"list the caller's files", "files", "ls " + outside + "/home"},
		{"read this host's users' files", "files",
			"cat /etc/shadow || cat /root/.profile || cat /root/.bashrc"},
		{"make a file outside", "files", "echo x > " + outside + "/made"},
		{"change a file outside", "files", "echo x >> " + existing},
		{"empty a file outside", "files", ": > " + existing},
		{"remove a file outside", "files", "rm " + existing},
		{"follow a link outside", "files", "ln -s " + secret + " link && cat link"},
		{"write among the programs", "files",
			"echo x > /usr/local/bin/made-by-test || echo x > /usr/made-by-test"},
		{"write to the root", "files", "echo x > /made-by-test"},
		{"reach the host's network", "network", "bash -c 'echo > /dev/tcp/127.0.0.1/" + port + "'"},
		{"see a process of the host", "processes",
			"grep -al 'sleep.71[.]5' /proc/[0-9]*/cmdline 2>/dev/null | grep ."},
		{"end a process of the host", "processes", fmt.Sprintf("kill -9 %d", other.Process.Pid)},
		{"read a process of the host", "processes",
			fmt.Sprintf("cat /proc/%d/environ | grep -a .", os.Getpid())},
		{"make a user namespace", "system calls", "unshare -U true"},
		{"mount", "privileges", "mount -t tmpfs none " + v.settingsPlaces().Workspace},
		{"change the clock", "privileges", "date -s '2001-01-01'"},
		{"change the host name", "host name", "hostname renamed-by-test"},
		{"change the kernel's settings", "privileges",
			"cat /proc/sys/kernel/core_pattern > /proc/sys/kernel/core_pattern"},
		{"become root", "privileges", "setpriv --reuid=0 true || sudo -n true"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			if !v.confines(t, c.what) {
				t.Logf("the host does not confine %s", c.what)
				return
			}
			if stdout, stderr, code := v.sh(t, c.line); code == 0 {
				t.Errorf("%s succeeded: %q %q", c.line, stdout, stderr)
			}
		})
	}
	if content, err := os.ReadFile(existing); err != nil || string(content) != "whole\n" {
		t.Errorf("the file outside is %q, %v", content, err)
	}
	// The same attempts are good ones if nothing confines them.
	for _, line := range []string{"cat " + secret, "echo >> " + existing,
		"grep -al 'sleep.71[.]5' /proc/[0-9]*/cmdline 2>/dev/null | grep .",
		"bash -c 'echo > /dev/tcp/127.0.0.1/" + port + "'"} {
		if out, err := exec.Command("/bin/sh", "-c", line).CombinedOutput(); err != nil {
			t.Errorf("unconfined, %s: %v %s", line, err, out)
		}
	}
}

// TestUseful does what commands rightly do.
func TestUseful(t *testing.T) {
	v := startVM(t)
	for name, line := range map[string]string{
		"write":     "mkdir -p d/e && echo x > d/e/f && mv d/e/f g && ln -s g h && cat h && rm -r d",
		"temporary": "f=$(mktemp) && echo x > $f && cat $f",
		"home":      "echo x > ~/.file && cat ~/.file",
		"devices":   "echo x > /dev/null && head -c 8 /dev/urandom | wc -c && echo x > /dev/stdout",
		"pipes":     "seq 1000 | sort -rn | head -1",
		"git": "git init -q r && cd r && git -c user.name=a -c user.email=b@c commit -q " +
			"--allow-empty -m m && git log --oneline",
		"python": "python3 -c 'import subprocess, tempfile; tempfile.TemporaryFile(); " +
			"subprocess.check_call([\"true\"])'",
		"permissions": "touch p && chmod 000 p && chmod 644 p && test -O p",
		"unpack": "mkdir in && touch in/f && tar cf t.tar in && mkdir out && tar xf t.tar -C out && " +
			"test -f out/in/f",
	} {
		t.Run(name, func(t *testing.T) {
			if stdout, stderr, code := v.sh(t, line); code != 0 {
				t.Errorf("exit status %d: %q %q", code, stdout, stderr)
			}
		})
	}
	if v.layers.Has(confine.Net) {
		server := `python3 -c 'import socket as s; l = s.create_server(("127.0.0.1", 0)); c = s.create_connection(l.getsockname()); l.accept()[0].send(b"x"); print(c.recv(1))'`
		if stdout, stderr, code := v.sh(t, server); code != 0 {
			t.Errorf("a server of its own: %q %q", stdout, stderr)
		}
	}
	if v.layers.Has(confine.Mount) {
		if out, _, _ := v.sh(t, "whoami; hostname; ls /home"); out != "pyro\nstandin\npyro\n" {
			t.Errorf("%q", out)
		}
	}
	if v.layers.Has(confine.PID) {
		// A background process of one command is there for the next.
		v.sh(t, "sleep 60 & echo $! > pid")
		if _, stderr, code := v.sh(t, "kill $(cat pid)"); code != 0 {
			t.Errorf("%q", stderr)
		}
	}
}
