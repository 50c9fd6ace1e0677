package record

import (
	"reflect"
	"slices"
	"testing"
)

// TestLike has each field of a record be either what another VM is made of, or this VM's alone. A field that
// is forgotten would have forks be made of something else.
func TestLike(t *testing.T) {
	own := []string{"Format", "ID", "Name", "State", "CreatedAt", "ExpiresAt", "Publish",
		"Forwards", "AllowHostCompat", "ExecutionMode", "Accelerator", "Warm", "Stale", "Confinement",
		"Warnings", "VMMConfinement", "LastError", "Metadata", "LastCommand", "Current", "From", "Resumed",
		"Running", "Jobs", "Complete", "HostBootID"}
	var full VM
	for i := range reflect.TypeFor[VM]().NumField() {
		field := reflect.ValueOf(&full).Elem().Field(i)
		switch field.Kind() {
		case reflect.String:
			field.SetString("x")
		case reflect.Int, reflect.Int64:
			field.SetInt(1)
		case reflect.Bool:
			field.SetBool(true)
		case reflect.Pointer:
			field.Set(reflect.New(field.Type().Elem()))
		case reflect.Slice:
			field.Set(reflect.MakeSlice(field.Type(), 1, 1))
		case reflect.Map:
			field.Set(reflect.MakeMap(field.Type()))
		}
	}
	full.Boot.Image, full.CreatedAt = "image", full.CreatedAt.AddDate(1, 0, 0)
	like := reflect.ValueOf(full.Like())
	for i := range like.NumField() {
		name := like.Type().Field(i).Name
		if kept, want := !like.Field(i).IsZero(), !slices.Contains(own, name); kept != want {
			t.Errorf("%s: that another VM has it is %v, not %v", name, kept, want)
		}
	}
}
