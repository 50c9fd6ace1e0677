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
