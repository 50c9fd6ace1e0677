package link

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// Each byte of a command arrives, whatever it is.
func TestExecKeepsBytes(t *testing.T) {
	for _, e := range []Exec{
		{Command: "echo größe"},
		{Command: "echo \xff"},
		{Command: strings.Repeat("\n\"", plainCommand)},
		{
			Argv:      []string{"", "a b", "b\xffd", "日本"},
			Env:       []string{"A=\xfe"},
			TimeoutMS: 5,
			ID:        "x",
		},
		{
			Argv:    []string{"true"},
			Env:     []string{"A=1"},
			Secrets: []string{"B=2"},
			Stdin:   true,
		},
	} {
		data, err := json.Marshal(e)
		var got Exec
		if err == nil {
			err = json.Unmarshal(data, &got)
		}
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%.60q became %.60q, %v", e.Line(), got.Line(), err)
		}
	}
}
