package pyro_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/pyro-mcp/pyro"
	"github.com/pyro-mcp/pyro/internal/instances"
	"github.com/pyro-mcp/pyro/internal/link"
)

// Each cause that is named below the faces has a row, and the words of this package are words of this
// package.
func TestEveryCauseHasARemedy(t *testing.T) {
	rows := map[string]bool{}
	for _, r := range pyro.Remedies() {
		if (r.Cause == "") == (r.Kind == nil) {
			t.Errorf("%+v has not one of a kind and a cause", r)
		}
		if r.Cause != "" && rows[r.Cause] {
			t.Errorf("cause %q has two rows", r.Cause)
		}
		rows[r.Cause] = true
	}
	for _, cause := range append(link.Causes(), instances.Causes()...) {
		if !rows[string(cause)] {
			t.Errorf("cause %q has no row among the remedies", cause)
		}
	}
}

func TestRemediesInGo(t *testing.T) {
	fields := map[string]bool{}
	for _, o := range pyro.Operations() {
		for _, f := range reflect.VisibleFields(o.Params) {
			fields[f.Name] = true
		}
	}
	for _, r := range pyro.Remedies() {
		err := &pyro.Error{Kind: r.Kind, Cause: r.Cause, Message: "it failed"}
		hint := pyro.ErrorHint(err)
		if strings.ContainsAny(hint, "{}") || strings.Contains(hint, "--") || strings.Contains(hint, "_") &&
			!strings.Contains(hint, "PYRO_SEED") {
			t.Errorf("%q is not in the words of Go", hint)
		}
		for word := range strings.FieldsSeq(hint) {
			word = strings.Trim(word, ".,;")
			if strings.HasSuffix(word, "Seconds") || strings.HasSuffix(word, "MiB") {
				if !fields[word] {
					t.Errorf("no operation takes %s, which %q advises", word, hint)
				}
			}
		}
	}
	for _, o := range pyro.Operations() {
		if _, ok := pyro.OperationNamed(o.Name); !ok {
			t.Errorf("%s is not found by its name", o.Name)
		}
	}
}

// What can be refused is refused before an environment is fetched: none-such:1 is none that there is.
func TestRefusedBeforeAnythingIsFetched(t *testing.T) {
	p, err := pyro.New(pyro.WithStateDir(t.TempDir()), pyro.WithCacheDir(t.TempDir()),
		pyro.WithCommand("/nonexistent/pyro"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for name, params := range map[string]string{
		"allow":       `{"allow": ["http://x y"]}`,
		"publish":     `{"publish": ["a:b"]}`,
		"source_path": `{"source_path": "/no/such/place"}`,
		"mem_mib":     `{"mem_mib": 1}`,
		"metadata":    `{"metadata": {"": "x"}}`,
	} {
		o, _ := pyro.OperationNamed("create_task")
		in, err := o.Decode([]byte(strings.Replace(params, "{", `{"environment": "debian:12", `, 1)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = o.Call(t.Context(), p, in, pyro.Hooks{Progress: func(pyro.PullProgress) {
			t.Errorf("%s: a pull began", name)
		}})
		if kind := pyro.ErrorKind(err); kind != "invalid" && kind != "bad_seed" {
			t.Errorf("%s: %v (%s)", name, err, kind)
		}
	}
}
