package link

import (
	"encoding/json"
	"slices"
	"unicode/utf8"
)

// plainCommand bounds a command line that is written as text: a longer one might grow too long by its
// escapes.
const plainCommand = 512 << 10

// execFields is an Exec without its methods.
type execFields Exec

// execBytes is an Exec as it crosses a hop: arguments that are not UTF-8 are bytes, which JSON's texts cannot
// hold.
type execBytes struct {
	execFields
	CommandBytes []byte   `json:"command_bytes,omitempty"`
	ArgvBytes    [][]byte `json:"argv_bytes,omitempty"`
	EnvBytes     [][]byte `json:"env_bytes,omitempty"`
}

// MarshalJSON keeps bytes that are not UTF-8.
func (e Exec) MarshalJSON() ([]byte, error) {
	out := execBytes{execFields: execFields(e)}
	if len(e.Command) > plainCommand || !utf8.ValidString(e.Command) {
		out.Command, out.CommandBytes = "", []byte(e.Command)
	}
	out.Argv, out.ArgvBytes = packed(e.Argv)
	out.Env, out.EnvBytes = packed(e.Env)
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (e *Exec) UnmarshalJSON(data []byte) error {
	var in execBytes
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	*e = Exec(in.execFields)
	if in.CommandBytes != nil {
		e.Command = string(in.CommandBytes)
	}
	e.Argv, e.Env = unpacked(e.Argv, in.ArgvBytes), unpacked(e.Env, in.EnvBytes)
	return nil
}

// packed gives texts as bytes if one of them is not UTF-8.
func packed(texts []string) ([]string, [][]byte) {
	if !slices.ContainsFunc(texts, func(w string) bool { return !utf8.ValidString(w) }) {
		return texts, nil
	}
	bytes := make([][]byte, len(texts))
	for i, w := range texts {
		bytes[i] = []byte(w)
	}
	return nil, bytes
}

func unpacked(texts []string, bytes [][]byte) []string {
	for _, b := range bytes {
		texts = append(texts, string(b))
	}
	return texts
}
