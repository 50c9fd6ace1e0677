package mcpserver

import (
	"reflect"
	"testing"

	"github.com/pyro-mcp/pyro"
)

// Output that is no text comes in base64: a schema that says otherwise makes strict clients refuse it.
func TestBytesAreDeclaredAsTexts(t *testing.T) {
	s, err := outputSchema(reflect.TypeFor[pyro.RunInVMResult]())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"stdout_base64", "stderr_base64"} {
		if p := s.Properties[name]; p == nil || p.Type != "string" || p.ContentEncoding != "base64" {
			t.Errorf("%s is declared as %+v", name, p)
		}
	}
}
