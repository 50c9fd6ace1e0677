package pyro

import (
	"strings"
	"testing"
)

func TestMisreadHasNoWordsOfGo(t *testing.T) {
	decode := map[string]Operation{}
	for _, o := range Operations() {
		decode[o.Name] = o
	}
	for params, want := range map[string]string{
		`{"task_id": 3}`:           "task_id is a number, not a text",
		`{"command": ["x"]}`:       "command is a list, not a text",
		`{"nonsense": 1}`:          `there is no parameter "nonsense"`,
		`{"timeout_seconds": "x"}`: "timeout_seconds is a text, not a whole number that is not too large",
		`{"timeout_seconds": 2.5}`: "timeout_seconds is 2.5, not a whole number that is not too large",
		`{"timeout_seconds": 1` + "0000000000000000000000" + `}`: "timeout_seconds is 10000000000000000000000, " +
			"not a whole number that is not too large",
		`{"argv": [{}]}`: "argv is an object, not a text",
		`[1]`:            "the parameters are a list, not an object with names",
		`{"task_id":`:    "the parameters are not JSON: unexpected EOF",
	} {
		_, err := decode["exec_task"].Decode([]byte(params))
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", params, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "Go ") {
			t.Errorf("%s: %v speaks of Go", params, err)
		}
	}
}
