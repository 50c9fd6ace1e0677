package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"time"
	"unicode"

	"github.com/pyro-mcp/pyro"
)

// pythonNames are the names of results that Python has its own way; the others keep their names.
var pythonNames = map[string]string{
	"RunInVMResult":           "RunResult",
	"ExecTaskResult":          "TaskCommand",
	"LogsTaskResult":          "TaskLogs",
	"ListEnvironmentsResult":  "Environments",
	"PullEnvironmentResult":   "PullResult",
	"PruneEnvironmentsResult": "PruneResult",
	"WarmEnvironmentResult":   "WarmResult",
	"ListVMsResult":           "Everything",
	"Command":                 "BackgroundCommand", // Command is what a call takes: a line or a list
}

// generator collects the types that the operations use, each after those that it needs.
type generator struct {
	docs    map[string]string
	names   map[string]string // by Go name, of the types that are written
	written []string          // the classes' texts
	words   []string          // the fields that are a Literal, in the order of their use
}

// readDocs gives the comments of the root package's types.
func readDocs(root string) (map[string]string, error) {
	names, err := filepath.Glob(filepath.Join(root, "*.go"))
	if err != nil {
		return nil, err
	}
	docs := map[string]string{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		for _, d := range file.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Doc == nil || len(decl.Specs) != 1 {
				continue
			}
			if spec, ok := decl.Specs[0].(*ast.TypeSpec); ok {
				docs[spec.Name.Name] = strings.Join(strings.Fields(decl.Doc.Text()), " ")
			}
		}
	}
	return docs, nil
}

// class writes a struct's class, unless it is written, and gives its name.
func (g *generator) class(t reflect.Type) string {
	if name, ok := g.names[t.Name()]; ok {
		return name
	}
	name := t.Name()
	if own, ok := pythonNames[name]; ok {
		name = own
	}
	g.names[t.Name()] = name
	var bases, fields []string
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			bases = append(bases, g.class(f.Type))
			continue
		}
		key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || key == "" || key == "-" {
			continue
		}
		of := g.field(key, f.Type)
		if strings.Contains(options, "omit") {
			of = "NotRequired[" + strings.TrimSuffix(of, " | None") + "]"
		}
		fields = append(fields, "    "+key+": "+of)
	}
	if len(bases) == 0 {
		bases = []string{"TypedDict"}
	}
	text := fmt.Sprintf("class %s(%s):\n    \"\"\"%s\"\"\"\n", name, strings.Join(bases, ", "),
		g.doc(t.Name()))
	if len(fields) > 0 {
		text += "\n" + strings.Join(fields, "\n") + "\n"
	}
	g.written = append(g.written, text)
	return name
}

// doc is a type's comment as a docstring: without the type's name at its beginning.
func (g *generator) doc(name string) string {
	text := g.docs[name]
	for _, verb := range []string{" is ", " are ", " says ", " names ", " asks for "} {
		if rest, ok := strings.CutPrefix(text, name+verb); ok {
			text = strings.ToUpper(rest[:1]) + rest[1:]
		}
	}
	return wrap(text, 112, "    ")
}

// field gives a field's type, which is a Literal if it holds one of a few words.
func (g *generator) field(key string, t reflect.Type) string {
	if t.Kind() == reflect.String && pyro.Vocabulary(key) != nil {
		g.literal(key)
		return literalName(key)
	}
	return g.python(t)
}

func (g *generator) literal(key string) {
	for _, known := range g.words {
		if known == key {
			return
		}
	}
	g.words = append(g.words, key)
}

// literalName is a field's name as a type's: execution_mode is ExecutionMode.
func literalName(key string) string {
	if key == "mode" {
		return "SeedMode"
	}
	var b strings.Builder
	up := true
	for _, r := range key {
		switch {
		case r == '_':
			up = true
		case up:
			b.WriteRune(unicode.ToUpper(r))
			up = false
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// python gives the type that a Go type has after a walk through JSON.
func (g *generator) python(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "str"
	case t.Kind() == reflect.Pointer:
		return g.python(t.Elem()) + " | None"
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return "str"
	case t.Kind() == reflect.Slice:
		return "list[" + g.python(t.Elem()) + "]"
	case t.Kind() == reflect.Map:
		return "dict[str, " + g.python(t.Elem()) + "]"
	case t.Kind() == reflect.Struct:
		return g.class(t)
	}
	switch t.Kind() {
	case reflect.String:
		return "str"
	case reflect.Bool:
		return "bool"
	case reflect.Float64:
		return "float"
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint16, reflect.Uint32,
		reflect.Uint64:
		return "int"
	}
	return "object"
}

const typesHead = `"""The results of the calls, as typed dictionaries. Moments are texts in RFC 3339, byte strings are in base64.

This file is generated from the engine's own types: go run ./tools/clients.
"""

from __future__ import annotations

import sys
from typing import Literal, TypedDict

if sys.version_info >= (3, 11):
    from typing import NotRequired
else:
    from typing import TYPE_CHECKING

    if TYPE_CHECKING:
        from typing_extensions import NotRequired
    else:

        class NotRequired:
            """Stands in for typing.NotRequired, which Python 3.10 lacks: at run time it says nothing."""

            def __class_getitem__(cls, item):
                return item


`

// types gives the file of all types that the operations used.
func (g *generator) types() string {
	var b strings.Builder
	b.WriteString(typesHead)
	for _, key := range g.words {
		var quoted []string
		for _, word := range pyro.Vocabulary(key) {
			quoted = append(quoted, fmt.Sprintf("%q", word))
		}
		fmt.Fprintf(&b, "%s = Literal[%s]\n", literalName(key), strings.Join(quoted, ", "))
	}
	for _, class := range g.written {
		b.WriteString("\n\n" + class)
	}
	return b.String()
}

// wrap breaks a text into lines of a width, all but the first behind an indent.
func wrap(text string, width int, indent string) string {
	var b strings.Builder
	column := len(indent) + len(`"""`)
	for i, word := range strings.Fields(text) {
		if i > 0 && column+1+len(word) > width {
			b.WriteString("\n" + indent)
			column = len(indent)
		} else if i > 0 {
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}
