package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/pyro-mcp/pyro"
)

// engine gives an engine on the shared cache, with a state of its own.
func engine(t *testing.T) *pyro.Pyro {
	t.Helper()
	installed(t)
	p, err := pyro.New(pyro.WithCacheDir(cacheDir(t)), pyro.WithStateDir(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func TestAPublishedPortIsOpenWhileItsTaskLives(t *testing.T) {
	p := engine(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	task, err := p.CreateTask(t.Context(), pyro.CreateTaskRequest{
		Shape: pyro.Shape{Environment: "debian:12"}, Publish: []string{fmt.Sprintf("%d:8000", port)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.DeleteTask(t.Context(), pyro.TaskRequest{TaskID: task.TaskID}) })
	serve := "echo from the guest > index.html; python3 -m http.server 8000 >/dev/null 2>&1 & " +
		"until curl -s -o /dev/null http://127.0.0.1:8000/; do sleep 0.1; done"
	started, err := p.ExecTask(t.Context(), pyro.ExecTaskRequest{TaskID: task.TaskID,
		CommandLine: pyro.CommandLine{Command: serve, TimeoutSeconds: new(90)}})
	if err := errors.Join(err, started.Err()); err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err := io.ReadAll(answer.Body); err != nil ||
		strings.TrimSpace(string(body)) != "from the guest" {
		t.Fatalf("%q, %v", body, err)
	}
	info, err := p.NetworkInfoVM(t.Context(), pyro.VMRequest{VMID: task.TaskID})
	if err != nil || len(info.Published) != 1 ||
		info.Published[0] != (pyro.PublishedPort{HostIP: "127.0.0.1", HostPort: port, GuestPort: 8000}) {
		t.Fatalf("%+v, %v", info, err)
	}
	if _, err := p.DeleteTask(t.Context(), pyro.TaskRequest{TaskID: task.TaskID}); err != nil {
		t.Fatal(err)
	}
	if _, err := http.Get(url); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("the port outlives its task: %v", err)
	}
}

// A published port leads to servers that listen on the guest's loopback alone, and opens nothing outwards.
func TestAPublishedPortLeadsInwardAlone(t *testing.T) {
	p := engine(t)
	ports := map[string]int{"127.0.0.1": 8001, "::1": 8002, "0.0.0.0": 8003}
	var publish []string
	for _, port := range ports {
		publish = append(publish, fmt.Sprintf("0:%d", port))
	}
	task, err := p.CreateTask(t.Context(), pyro.CreateTaskRequest{
		Shape: pyro.Shape{Environment: "debian:12"}, Publish: publish})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.DeleteTask(t.Context(), pyro.TaskRequest{TaskID: task.TaskID}) })
	script := "echo served >index.html; for a in 127.0.0.1:8001 ::1:8002 0.0.0.0:8003; do " +
		"python3 -m http.server ${a##*:} --bind ${a%:*} >/dev/null 2>&1 & done; " +
		"get() { curl -sf -o /dev/null \"$@\"; }; until get http://127.0.0.1:8001/ && " +
		"get http://127.0.0.1:8003/ && get 'http://[::1]:8002/'; do sleep 0.1; done; " +
		"curl -s --max-time 10 http://93.184.216.34/; echo $?; " +
		"curl -s --max-time 10 http://www.example.org/; echo $?"
	done, err := p.ExecTask(t.Context(), pyro.ExecTaskRequest{TaskID: task.TaskID,
		CommandLine: pyro.CommandLine{Command: script, TimeoutSeconds: new(120)}})
	if err := errors.Join(err, done.Err()); err != nil || done.Stdout != "7\n6\n" {
		t.Errorf("outwards: %q, %v", done.Stdout, err)
	}
	info, err := p.NetworkInfoVM(t.Context(), pyro.VMRequest{VMID: task.TaskID})
	if err != nil || len(info.Published) != len(ports) || info.Policy.Mode != "inbound" {
		t.Fatalf("%+v, %v", info, err)
	}
	for _, port := range info.Published {
		answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port.HostPort))
		if err != nil {
			t.Errorf("port %d: %v", port.GuestPort, err)
			continue
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || string(body) != "served\n" {
			t.Errorf("port %d: %q, %v", port.GuestPort, body, err)
		}
	}
}
