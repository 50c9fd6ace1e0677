package main

import (
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode"

	"github.com/pyro-mcp/pyro"
)

// typescript collects the interfaces of parameters and results, and writes the file of operations.
type typescript struct {
	docs    map[string]string
	written map[string]bool
	types   strings.Builder
}

// operations gives the file.
func (ts *typescript) operations() string {
	var methods strings.Builder
	ts.declare(reflect.TypeFor[pyro.PullProgress]())
	ts.declare(reflect.TypeFor[pyro.LogEntry]())
	for _, o := range pyro.Operations() {
		methods.WriteString(ts.method(o))
	}
	var paths []string
	for _, p := range pyro.Parameters() {
		if p.Names == pyro.NamesHostPaths {
			paths = append(paths, fmt.Sprintf("%q", p.Name))
		}
	}
	constants := fmt.Sprintf(hostPathsText, strings.Join(paths, ", "))
	return typescriptHead + constants + ts.types.String() + typescriptClass + methods.String() + "}\n"
}

func (ts *typescript) method(o pyro.Operation) string {
	result := ts.declare(o.Result)
	options := []string{"CallOptions"}
	for _, hook := range []struct {
		name    pyro.Hook
		options string
	}{
		{pyro.HookStreams, "StreamOptions"},
		{pyro.HookProgress, "ProgressOptions"},
		{pyro.HookFollow, "FollowOptions"},
	} {
		if o.Takes(hook.name) {
			options = append(options, hook.options)
		}
	}
	params, pass := "", "{}"
	if o.Params.NumField() > 0 {
		params, pass = "params: "+ts.declare(o.Params)+", ", "params"
	}
	signature := fmt.Sprintf("%s(%soptions: %s = {}): Promise<%s>",
		camelCase(o.Name), params, strings.Join(options, " & "), result)
	body := fmt.Sprintf("return (await this.call(%q, %s, options)) as %s;", o.Name, pass, result)
	about := wrap(o.Summary, 104, "   * ")
	return fmt.Sprintf("\n  /** %s */\n  async %s {\n    %s\n  }\n", about, signature, body)
}

// declare writes a struct's interface, unless it is written, and gives its name.
func (ts *typescript) declare(t reflect.Type) string {
	name := t.Name()
	if ts.written[name] {
		return name
	}
	ts.written[name] = true
	var bases []string
	var fields strings.Builder
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			bases = append(bases, ts.declare(f.Type))
			continue
		}
		key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || key == "" || key == "-" {
			continue
		}
		of, mark := ts.field(key, f.Type), ""
		if strings.Contains(options, "omit") {
			of, mark = strings.TrimSuffix(of, " | null")+" | undefined", "?"
		}
		if about := f.Tag.Get("jsonschema"); about != "" {
			about = strings.ToUpper(about[:1]) + about[1:] + "."
			fmt.Fprintf(&fields, "  /** %s */\n", wrap(about, 104, "   * "))
		}
		fmt.Fprintf(&fields, "  %s%s: %s;\n", key, mark, of)
	}
	extends := ""
	if len(bases) > 0 {
		extends = " extends " + strings.Join(bases, ", ")
	}
	if about := ts.docs[name]; about != "" {
		fmt.Fprintf(&ts.types, "\n/** %s */", wrap(about, 106, " * "))
	}
	fmt.Fprintf(&ts.types, "\nexport interface %s%s {\n%s}\n", name, extends, fields.String())
	return name
}

// field gives a field's type, which is a union if it holds one of a few words.
func (ts *typescript) field(key string, t reflect.Type) string {
	if t.Kind() != reflect.String {
		return ts.plain(t)
	}
	known := pyro.Vocabulary(key)
	if known == nil {
		return "string"
	}
	var quoted []string
	for _, word := range known {
		quoted = append(quoted, fmt.Sprintf("%q", word))
	}
	return strings.Join(quoted, " | ")
}

// plain gives the type that a Go type has after a walk through JSON.
func (ts *typescript) plain(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "string"
	case t.Kind() == reflect.Pointer:
		return ts.plain(t.Elem()) + " | null"
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return "string"
	case t.Kind() == reflect.Slice:
		return "Array<" + ts.plain(t.Elem()) + ">"
	case t.Kind() == reflect.Map:
		return "Record<string, " + ts.plain(t.Elem()) + ">"
	case t.Kind() == reflect.Struct:
		return ts.declare(t)
	}
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Float64, reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint16,
		reflect.Uint32, reflect.Uint64:
		return "number"
	}
	return "unknown"
}

// camelCase is an operation's name as JavaScript has it: run_in_vm is runInVM.
func camelCase(name string) string {
	var b strings.Builder
	for i, word := range strings.Split(name, "_") {
		switch {
		case i > 0 && (word == "vm" || word == "vms"):
			b.WriteString("VM" + word[2:])
		case i > 0:
			b.WriteString(string(unicode.ToUpper(rune(word[0]))) + word[1:])
		default:
			b.WriteString(word)
		}
	}
	return b.String()
}

const hostPathsText = `
/** The parameters that are paths on this host. */
export const hostPaths = [%s];
`

const typescriptHead = `// The operations, one method each, as the engine declares them. Names of fields are those of every face of pyro;
// moments are texts in RFC 3339, byte strings are in base64.
//
// This file is generated: go run ./tools/clients.

import type { CallOptions, FollowOptions, ProgressOptions, StreamOptions } from "./options.js";
`

const typescriptClass = `
/** What may be asked of pyro. */
export abstract class Operations {
  protected abstract call(
    method: string,
    params: object,
    options: CallOptions & StreamOptions & ProgressOptions & FollowOptions,
  ): Promise<unknown>;
`
