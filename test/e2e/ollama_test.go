package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/pyro-mcp/pyro/internal/chat"
	"github.com/pyro-mcp/pyro/internal/chat/chattest"
)

// demoOllama runs the command against an endpoint, and gives its output and exit status.
func demoOllama(t *testing.T, state, url string, words ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "pyro", append(words, "--base-url", url)...)
	cmd.Env = append(os.Environ(), "PYRO_STATE_DIR="+state, "PYRO_CACHE_DIR="+cacheDir(t))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	t.Logf("%s\n%s%s", cmd, &stdout, &stderr)
	return stdout.String(), cmd.ProcessState.ExitCode()
}

// git is a model that does as it is asked, through the tool of its choice, and reads the answer from its
// result.
func git(first ...chat.Call) func(int, chattest.Asked) chattest.Turn {
	printed := regexp.MustCompile(`git version (\S+)`)
	return func(n int, asked chattest.Asked) chattest.Turn {
		if found := printed.FindStringSubmatch(asked.Last()); found != nil {
			return chattest.Turn{Text: "It has git " + found[1] + "."}
		}
		if n >= len(first) {
			return chattest.Turn{Text: "I give up: " + asked.Last()}
		}
		call := first[n]
		var made struct {
			TaskID string `json:"task_id"`
		}
		if json.Unmarshal([]byte(asked.Last()), &made) == nil {
			call.Arguments = strings.ReplaceAll(call.Arguments, "TASK", made.TaskID)
		}
		return chattest.Turn{Calls: []chat.Call{call}}
	}
}

// The commands of docs/ollama.md, with an endpoint that streams.
func TestDemoOllamaAsDocumented(t *testing.T) {
	installed(t)
	page, err := os.ReadFile("../../docs/ollama.md")
	if err != nil {
		t.Fatal(err)
	}
	state, ran := t.TempDir(), 0
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllSubmatch(page, -1) {
		for line := range strings.Lines(string(block[1])) {
			words := strings.Fields(line)
			if len(words) < 3 || words[0] != "pyro" {
				t.Fatalf("docs/ollama.md has a command that this test cannot run: %q", line)
			}
			endpoint := chattest.Start(t, false,
				git(chat.Call{ID: "a", Name: "vm_run",
					Arguments: `{"environment":"debian:12","command":"git --version"}`}))
			out, status := demoOllama(t, state, endpoint.URL, words[1:]...)
			if status != 0 || !regexp.MustCompile(
				`(?m)^summary: done: It has git 2\.\S+ \(2 rounds, 1 tool call, .* s\)$`).MatchString(out) {
				t.Errorf("%s: exit status %d", line, status)
			}
			ran++
		}
	}
	if ran < 3 {
		t.Errorf("docs/ollama.md has only %d commands", ran)
	}
}

// A model that takes the way of a task, corrects itself and leaves the task behind, at an endpoint that does
// not stream.
func TestDemoOllamaWithATask(t *testing.T) {
	installed(t)
	state := t.TempDir()
	endpoint := chattest.Start(t, true, git(
		chat.Call{ID: "a", Name: "task_create", Arguments: `{"env":"debian:12"}`},
		chat.Call{ID: "b", Name: "task_create", Arguments: `{"environment":"debian:12"}`},
		chat.Call{ID: "c", Name: "task_exec", Arguments: `{"task_id":"TASK","command":"git --version"}`}))
	out, status := demoOllama(t, state, endpoint.URL, "demo", "ollama")
	if status != 0 || !strings.Contains(out, "summary: done: It has git 2.") ||
		!strings.Contains(out, "(4 rounds, 2 tool calls, ") {
		t.Errorf("exit status %d", status)
	}
	list := exec.CommandContext(t.Context(), "pyro", "task", "list", "--json")
	list.Env = append(os.Environ(), "PYRO_STATE_DIR="+state)
	if left, err := list.Output(); err != nil || bytes.Contains(left, []byte("task_id")) {
		t.Errorf("left behind: %s %v", left, err)
	}
}

// The exit status tells the endpoint's failures from the model's.
func TestDemoOllamaStatus(t *testing.T) {
	state := t.TempDir()
	talks := chattest.Start(t, false, func(int, chattest.Asked) chattest.Turn {
		return chattest.Turn{Text: "2.47, trust me"}
	})
	for _, c := range []struct {
		url    string
		words  []string
		status int
		text   string
	}{
		{"http://127.0.0.1:1/v1", nil, 1, "summary: endpoint unreachable: "},
		{talks.URL, []string{"--model", chattest.Missing}, 1, "summary: model missing: "},
		{talks.URL, []string{"--max-rounds", "2"}, 3, "summary: no tool call: "},
		{talks.URL, []string{"--max-rounds", "0"}, 2, ""},
		{"localhost:11434", nil, 2, ""},
	} {
		out, status := demoOllama(t, state, c.url, append([]string{"demo", "ollama"}, c.words...)...)
		if status != c.status || !strings.Contains(out, c.text) {
			t.Errorf("%s %v: exit status %d", c.url, c.words, status)
		}
	}
}
