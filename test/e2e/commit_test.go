package e2e

import (
	"strings"
	"testing"

	"github.com/pyro-mcp/pyro"
	"github.com/pyro-mcp/pyro/test/dockerregistry"
)

// TestCommit makes an environment of a task's disk, brings it into a registry, and uses it from another
// cache, to which it came by its digest.
func TestCommit(t *testing.T) {
	p, _ := imageEngine(t)
	root := image(t, runConfig{
		Env:        []string{"PATH=/bin", "WORD=hello"},
		WorkingDir: "/srv",
		Entrypoint: []string{"/bin/sh", "-c"},
	}, packed(t, file("bin/busybox", read(t, "/bin/busybox")), symlink("bin/sh", "busybox"),
		file("old", []byte("old\n")), file("gone/a", []byte("a\n"))))
	exec := func(id, line string) string {
		t.Helper()
		got, err := p.ExecTask(t.Context(), pyro.ExecTaskRequest{TaskID: id,
			CommandLine: pyro.CommandLine{Argv: []string{"/bin/sh", "-c", line}, TimeoutSeconds: new(90)}})
		if err != nil || got.ExitCode != 0 {
			t.Fatalf("%q: %+v, %v", line, got, err)
		}
		return got.Stdout
	}
	task, err := p.CreateTask(t.Context(), pyro.CreateTaskRequest{Shape: pyro.Shape{Environment: root}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.DeleteTask(t.Context(), pyro.TaskRequest{TaskID: task.TaskID})
	exec(task.TaskID, "busybox rm -r /gone; echo new >/new; echo ours >note; busybox ln /new /twice; "+
		"busybox chown 7:8 /new; busybox chmod 4750 /new")
	commit := pyro.CommitTaskRequest{TaskID: task.TaskID, Environment: "prepared:1"}
	made, err := p.CommitTask(t.Context(), commit)
	if err != nil {
		t.Fatal(err)
	}
	if c := made.Env.Config; c == nil || c.WorkDir != "/srv" || len(c.Entrypoint) != 2 {
		t.Errorf("the configuration is %+v", c)
	}
	const look = "cat /old /new /workspace/note; stat -c %u:%g:%a:%h /new; ls -d /gone; cd /; pwd; echo $WORD"
	const want = "old\nnew\nours\n7:8:4750:2\n/\nhello\n"
	check := func(p *pyro.Pyro, environment string) {
		t.Helper()
		got, err := p.RunInVM(t.Context(), pyro.RunInVMRequest{
			Shape: pyro.Shape{Environment: environment},
			CommandLine: pyro.CommandLine{
				Argv:           []string{"for c in cat stat ls; do alias $c=\"busybox $c\"; done\n" + look},
				TimeoutSeconds: new(90),
			},
		})
		if err != nil || got.Stdout != want || got.ExitCode != 0 {
			t.Errorf("%s: %q %q %v, want %q", environment, got.Stdout, got.Stderr, err, want)
		}
	}
	check(p, "prepared:1")
	for name, why := range map[string]string{"debian:12": "meaning of its own", "Not/good": "not a name"} {
		commit.Environment = name
		if _, err := p.CommitTask(t.Context(), commit); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", name, err)
		}
	}

	host := dockerregistry.Serve(t, "}")
	to := "docker://" + host + "/team/prepared:1"
	push := pyro.PushEnvironmentRequest{Environment: "prepared:1", To: to}
	pushed, err := p.PushEnvironment(t.Context(), push)
	if err != nil {
		t.Fatal(err)
	}
	again, err := p.PushEnvironment(t.Context(), push)
	if err != nil || again.Reference != pushed.Reference {
		t.Errorf("pushed again it is %q, not %q: %v", again.Reference, pushed.Reference, err)
	}
	other, _ := imageEngine(t)
	byDigest := host + "/team/prepared@" + pushed.Digest
	pulled, err := other.PullEnvironment(t.Context(), pyro.PullEnvironmentRequest{Environment: byDigest})
	if err != nil {
		t.Fatal(err)
	}
	if c := pulled.Env.Config; c == nil || c.WorkDir != "/srv" || len(c.Entrypoint) != 2 {
		t.Errorf("the configuration that was pulled is %+v", c)
	}
	check(other, byDigest)

	// It is forgotten, and what was made of it goes on.
	named := pyro.EnvironmentRequest{Environment: "prepared:1"}
	if _, err := p.RemoveEnvironment(t.Context(), named); err != nil {
		t.Error(err)
	}
	if _, err := p.PushEnvironment(t.Context(), push); err == nil ||
		!strings.Contains(err.Error(), "unknown environment") {
		t.Errorf("after its removal: %v", err)
	}
}
