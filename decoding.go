package pyro

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// Misread says in plain words why parameters cannot be read: what stands where, and what is wanted there. The
// words of encoding/json are about Go's types, which callers in other languages do not know.
func Misread(err error) string {
	var mismatch *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	unknown, isUnknown := strings.CutPrefix(err.Error(), "json: unknown field ")
	switch {
	case errors.As(err, &mismatch):
		value, _, _ := strings.Cut(mismatch.Value, " ")
		if value == "number" && mismatch.Value != value {
			value = mismatch.Value
		}
		name := mismatch.Field[strings.LastIndex(mismatch.Field, ".")+1:]
		if name == "" {
			return fmt.Sprintf("the parameters are %s, not an object with names", described(value))
		}
		return fmt.Sprintf("%s is %s, not %s", name, described(value), wanted(mismatch.Type))
	case isUnknown:
		return "there is no parameter " + unknown
	case errors.As(err, &syntax), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "the parameters are not JSON: " + strings.TrimPrefix(err.Error(), "json: ")
	case strings.HasPrefix(err.Error(), "illegal base64"):
		return "binary data must be in base64"
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// described gives one of encoding/json's words for a value as a reader of JSON would.
func described(value string) string {
	switch value {
	case "string":
		return "a text"
	case "bool":
		return "a truth value"
	case "array":
		return "a list"
	case "object":
		return "an object"
	case "number":
		return "a number"
	}
	return strings.TrimPrefix(value, "number ")
}

// wanted describes what a parameter of a type takes.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8,
		reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number that is not too large"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return "binary data in base64"
		}
		return "a list"
	}
	return "an object"
}
