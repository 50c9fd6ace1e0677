package main

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/pyro-mcp/pyro"
)

// argument is one parameter of a method.
type argument struct {
	name, typ, standard string
	pass                string // how it goes into the request; "" if it does not
}

func (a argument) text() string {
	if a.standard == "" {
		return a.name + ": " + a.typ
	}
	return a.name + ": " + a.typ + " = " + a.standard
}

// operations gives the file with a method for each operation.
func (g *generator) operations() string {
	var methods []string
	used := map[string]bool{}
	g.class(reflect.TypeFor[pyro.PullProgress]())
	for _, o := range pyro.Operations() {
		result := g.class(o.Result)
		used[result] = true
		methods = append(methods, g.method(o, result))
	}
	var names []string
	for name := range used {
		names = append(names, "    "+name+",\n")
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(importKey(a), importKey(b)) })
	return operationsHead + "from .types import (\n" + strings.Join(names, "") + ")\n\n\n" + operationsClass +
		strings.Join(methods, "")
}

// importKey sorts names as Python's tools do: constants first.
func importKey(name string) string {
	name = strings.TrimSpace(name)
	if strings.ToUpper(name) == name {
		return "0" + name
	}
	return "1" + name
}

func (g *generator) method(o pyro.Operation, result string) string {
	arguments := g.arguments(o)
	var positional, keyword []argument
	for _, a := range arguments {
		if len(positional) == 0 && len(keyword) == 0 && a.standard == "" && a.name != "command" {
			positional = append(positional, a)
		} else {
			keyword = append(keyword, a)
		}
	}
	// What must be given comes first.
	slices.SortStableFunc(keyword, func(a, b argument) int { return order(a) - order(b) })
	var b strings.Builder
	fmt.Fprintf(&b, "\n    def %s(\n        self,\n", o.Name)
	for _, a := range positional {
		fmt.Fprintf(&b, "        %s,\n", a.text())
	}
	if len(keyword) > 0 {
		b.WriteString("        *,\n")
	}
	for _, a := range keyword {
		fmt.Fprintf(&b, "        %s,\n", a.text())
	}
	fmt.Fprintf(&b, "    ) -> %s:\n        \"\"\"%s\"\"\"\n", result, wrap(o.Summary, 112, "        "))
	fmt.Fprintf(&b, "        return cast(%s, self._call(\n            %q,\n", result, o.Name)
	if handlers := handlersOf(o); handlers != "" {
		fmt.Fprintf(&b, "            _handlers(%s),\n", handlers)
	}
	for _, a := range slices.Concat(positional, keyword) {
		if a.pass != "" {
			fmt.Fprintf(&b, "            %s,\n", a.pass)
		}
	}
	b.WriteString("        ))\n")
	return b.String()
}

func order(a argument) int {
	if a.standard == "" {
		return 0
	}
	return 1
}

func handlersOf(o pyro.Operation) string {
	var handlers []string
	if o.Takes(pyro.HookStreams) {
		handlers = append(handlers, "on_stdout=on_stdout", "on_stderr=on_stderr")
	}
	if o.Takes(pyro.HookProgress) {
		handlers = append(handlers, "on_progress=on_progress")
	}
	if o.Takes(pyro.HookFollow) {
		handlers = append(handlers, "on_event=on_event")
	}
	return strings.Join(handlers, ", ")
}

// arguments are an operation's parameters, and what its hooks add.
func (g *generator) arguments(o pyro.Operation) []argument {
	var out []argument
	parameters := o.Parameters()
	vector := slices.ContainsFunc(parameters, func(p pyro.Parameter) bool { return p.Name == "argv" })
	for _, p := range parameters {
		switch {
		case p.Name == "argv":
		case p.Name == "command" && vector:
			out = append(out, argument{name: p.Name, typ: "Command", pass: "**_command(command)"})
		default:
			out = append(out, g.argument(p))
		}
	}
	if o.Takes(pyro.HookStreams) {
		out = append(out,
			argument{
				name:     "stdin",
				typ:      "Input | None",
				standard: "None",
				pass:     "stdin=stdin",
			},
			argument{
				name:     "on_stdout",
				typ:      "OnOutput | None",
				standard: "None",
				pass:     "stream=True if on_stdout or on_stderr else None",
			},
			argument{name: "on_stderr", typ: "OnOutput | None", standard: "None"})
	}
	if o.Takes(pyro.HookProgress) {
		out = append(out, argument{name: "on_progress", typ: "OnProgress | None", standard: "None"})
	}
	if o.Takes(pyro.HookFollow) {
		out = append(out, argument{
			name:     "on_event",
			typ:      "OnEvent | None",
			standard: "None",
			pass:     "follow=True if on_event else None",
		})
	}
	return out
}

func (g *generator) argument(known pyro.Parameter) argument {
	name, t := known.Name, known.Type
	a := argument{name: name, typ: g.parameter(known, t), pass: name + "=" + name}
	// A standard value is not sent: a pyro that does not know the parameter yet need not be told of it.
	if known.Names == pyro.NamesHostPaths {
		a.pass = name + "=_path(" + name + ")"
	}
	switch {
	case known.Default != nil:
		a.standard = literal(known.Default)
		a.pass = fmt.Sprintf("%s=_unless(%s, %s)", name, a.standard, name)
	case !known.Optional:
	case t.Kind() == reflect.Bool:
		a.standard = "False"
		a.pass = fmt.Sprintf("%s=%s or None", name, name)
	default:
		a.typ, a.standard = strings.TrimSuffix(a.typ, " | None")+" | None", "None"
	}
	return a
}

// parameter gives the type that a parameter takes in Python: more kinds of thing than a result is.
func (g *generator) parameter(known pyro.Parameter, t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case known.Names == pyro.NamesHostPaths:
		return "str | os.PathLike[str]"
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return "str | bytes"
	case t.Kind() == reflect.Slice:
		return "Iterable[" + g.python(t.Elem()) + "]"
	case t.Kind() == reflect.Map:
		return "Mapping[str, " + g.python(t.Elem()) + "]"
	}
	return g.python(t)
}

func literal(v any) string {
	switch v := v.(type) {
	case bool:
		return strings.ToUpper(strconv.FormatBool(v)[:1]) + strconv.FormatBool(v)[1:]
	case string:
		return strconv.Quote(v)
	}
	return fmt.Sprint(v)
}

const operationsHead = `"""The operations, one method each, as the engine declares them.

This file is generated: go run ./tools/clients.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import cast

from ._calls import (
    Calls,
    Command,
    Input,
    OnEvent,
    OnOutput,
    OnProgress,
    _command,
    _handlers,
    _path,
    _unless,
)
`

const operationsClass = `class Operations(Calls):
    """What may be asked of pyro."""
`
