package e2e

import (
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pyro-mcp/pyro"
	"golang.org/x/net/dns/dnsmessage"
)

// probes are what one guest tries, in order: a label, a shell command, and what its label is followed by.
func probes() []struct{ label, command, want string } {
	const get = "curl -sS --max-time 20 --cacert ca.pem "
	return []struct{ label, command, want string }{
		{"no connections from the template", "cat /proc/net/tcp /proc/net/udp | grep -vc local_address", "0"},
		{"TLS, listed", get + "https://shared.example.org/", "hello shared.example.org"},
		{"TLS, unlisted name at a listed address",
			get + "--resolve other.example.org:443:192.0.2.35 https://other.example.org/; echo status $?",
			"status 35"},
		{"TLS, an address in place of a name", get + "-k https://192.0.2.35/; echo status $?", "status 35"},
		{"HTTP, listed", get + "http://shared.example.org/", "hello shared.example.org"},
		{"HTTP, unlisted name at a listed address",
			get + "-H 'Host: other.example.org' http://shared.example.org/; echo status $?", "status 56"},
		{"an unlisted name", get + "https://other.example.org/; echo status $?", "status 6"},
		{"an unlisted address", get + "http://192.0.2.36/; echo status $?", "status 7"},
		{"cloud metadata", get + "http://169.254.169.254/; echo status $?", "status 7"},
		{"a private address", get + "http://10.1.2.3/; echo status $?", "status 7"},
		{"a listed name that is private", get + "http://private.example.org/; echo status $?", "status 6"},
		{"git clone", "git clone -q http://git.example.org/probe.git && cat probe/file",
			"from the repository"},
		{"pip install", "PYTHONPATH=pip.zip python3 -m pip -q install --disable-pip-version-check " +
			"--break-system-packages --root-user-action ignore " +
			"--index-url http://index.example.org/simple --trusted-host index.example.org probe && " +
			"python3 -m probe", "from the package"},
	}
}

// One guest on an internet of the test's own, under an allow-list: what is listed works with the real
// programs, and an address that is shared with an unlisted name does not open that.
func TestInternet(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	w := newWorld(t, map[string]string{"shared.example.org": "192.0.2.35", "other.example.org": "192.0.2.35",
		"git.example.org": "192.0.2.34", "index.example.org": "192.0.2.34",
		"unlisted.example.org": "192.0.2.36", "private.example.org": "10.1.2.3"})
	certificate, ca := authority(t, "shared.example.org", "other.example.org")
	hosts := byHost(map[string]http.Handler{"git.example.org": gitServer(t),
		"index.example.org": pythonIndex(t)})
	serve(t, w.listen(80), hosts)
	serve(t, tls.NewListener(w.listen(443), &tls.Config{Certificates: []tls.Certificate{certificate}}), hosts)
	seed := t.TempDir()
	var script strings.Builder
	for _, p := range probes() {
		script.WriteString("echo \"" + p.label + ": $(" + p.command + ")\"\n")
	}
	for name, text := range map[string]string{"ca.pem": string(ca), "probes": script.String()} {
		if err := os.WriteFile(filepath.Join(seed, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	packPip(t, filepath.Join(seed, "pip.zip"))
	p := engine(t)
	task, err := p.CreateTask(t.Context(),
		pyro.CreateTaskRequest{SourcePath: seed, Shape: pyro.Shape{Environment: "debian:12",
			Allow: []string{"shared.example.org", "git.example.org", "index.example.org:80",
				"private.example.org"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.DeleteTask(t.Context(), pyro.TaskRequest{TaskID: task.TaskID})
	done, err := p.ExecTask(t.Context(), pyro.ExecTaskRequest{TaskID: task.TaskID,
		CommandLine: pyro.CommandLine{Command: ". ./probes", TimeoutSeconds: new(240)}})
	if err := errors.Join(err, done.Err()); err != nil {
		t.Fatal(err)
	}
	for _, p := range probes() {
		if !strings.Contains("\n"+done.Stdout, "\n"+p.label+": "+p.want+"\n") {
			t.Errorf("%s: not %q", p.label, p.want)
		}
	}
	info, err := p.NetworkInfoVM(t.Context(), pyro.VMRequest{VMID: task.TaskID})
	if err != nil || info.Counters.ConnectionsRefused == 0 || info.Counters.ConnectionsAllowed == 0 {
		t.Errorf("%+v, %v", info, err)
	}
	if t.Failed() {
		t.Logf("%s\n%s", done.Stdout, done.Stderr)
		for _, d := range info.Decisions {
			t.Logf("%+v", d)
		}
	}
}

// askText is a program that asks the guest's name server for the texts of names.
const askText = `
import socket, sys
for name in sys.argv[1:]:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(20)
    labels = b"".join(bytes([len(l)]) + l.encode() for l in name.split("."))
    s.sendto(b"\0\7\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\x10\0\1", (open("/etc/resolv.conf").read().split()[1], 53))
    answer = s.recv(4096)
    print(name, "code", answer[3] & 15, "answers", answer[7], answer[-6:].decode(errors="replace") if answer[7] else "")
`

// One guest on the internet and without a list: of what the host's own network knows, it is told nothing.
func TestPublicAnswers(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	w := newWorld(t, map[string]string{
		"www.example.org":     "192.0.2.35",
		"ns.example.org":      "192.0.2.34",
		"ns.corp.example.org": "10.1.2.3",
		"table.example.org":   "192.0.2.36",
	})
	ns := func(host string) dnsmessage.ResourceBody {
		return &dnsmessage.NSResource{NS: dnsmessage.MustNewName(host)}
	}
	text := func(words string) dnsmessage.ResourceBody {
		return &dnsmessage.TXTResource{TXT: []string{words}}
	}
	w.other = map[string][]dnsmessage.ResourceBody{
		"example.org":      {ns("ns.example.org."), text("public")},
		"corp.example.org": {ns("ns.corp.example.org."), text("secret")},
		"corp.internal":    {ns("ns.example.org."), text("secret")},
	}
	w.replace("/etc/hosts", "127.0.0.1 localhost\n192.0.2.36 table.example.org secret-host\n")
	serve(t, w.listen(80), byHost(nil))
	p := engine(t)
	script := "curl -sS http://www.example.org/; for n in table.example.org secret-host; do " +
		"curl -s --max-time 20 http://$n/; echo $n $?; done; python3 -c '" + askText +
		"' example.org corp.example.org corp.internal table.example.org"
	done, err := p.RunInVM(t.Context(), pyro.RunInVMRequest{
		Shape:       pyro.Shape{Environment: "debian:12", Network: true},
		CommandLine: pyro.CommandLine{Command: script, TimeoutSeconds: new(90)},
	})
	if err := errors.Join(err, done.Err()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"hello www.example.org",
		"table.example.org 6",
		"secret-host 6",
		"example.org code 0 answers 1 public",
		"corp.example.org code 3 answers 0",
		"corp.internal code 3 answers 0",
		"table.example.org code 3 answers 0",
	} {
		if !strings.Contains("\n"+done.Stdout, "\n"+want) {
			t.Errorf("not %q", want)
		}
	}
	if t.Failed() {
		t.Logf("%s\n%s", done.Stdout, done.Stderr)
	}
}
