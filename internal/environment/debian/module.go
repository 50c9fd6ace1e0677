package debian

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// guestModules are what a guest needs before its root is mounted, and for its network.
func guestModules() []string {
	return []string{
		"virtio_ring", "virtio", "virtio_mmio", "virtio_blk", "virtio_console", "virtio_net", "overlay",
		"erofs",
	}
}

// moduleSet is a kernel's modules.
type moduleSet struct {
	paths   map[string]string // by name
	builtin map[string]bool   // names of those that are part of the kernel
	read    func(path string) ([]byte, error)
}

// moduleName makes the name of a module of the name of its file, or of another spelling.
func moduleName(file string) string {
	file = file[strings.LastIndexByte(file, '/')+1:]
	file, _, _ = strings.Cut(file, ".ko")
	return strings.ReplaceAll(file, "-", "_")
}

// load returns the modules named and all that those depend on, and the order in which they can be loaded.
func (m *moduleSet) load(names []string) (files map[string][]byte, order []string, err error) {
	files = map[string][]byte{}
	var visit func(name string, optional bool, above []string) error
	visit = func(name string, optional bool, above []string) error {
		name = moduleName(name)
		if _, done := files[name]; done || m.builtin[name] {
			return nil
		}
		path, ok := m.paths[name]
		switch {
		case !ok && optional:
			return nil
		case !ok:
			return fmt.Errorf("the kernel has no module %q", name)
		case slices.Contains(above, name):
			return fmt.Errorf("the module %q depends on itself", name)
		}
		data, err := m.read(path)
		if err != nil {
			return fmt.Errorf("cannot read the module %q: %w", name, err)
		}
		depends, soft, err := moduleDepends(data)
		if err != nil {
			return fmt.Errorf("cannot read the module %q: %w", name, err)
		}
		above = append(slices.Clone(above), name)
		for _, d := range soft {
			if err := visit(d, true, above); err != nil {
				return err
			}
		}
		for _, d := range depends {
			if err := visit(d, false, above); err != nil {
				return err
			}
		}
		files[name] = unsigned(data)
		order = append(order, name)
		return nil
	}
	for _, name := range names {
		if err := visit(name, false, nil); err != nil {
			return nil, nil, err
		}
	}
	return files, order, nil
}

// unsigned is a module without the signature at its end, which the kernel would check at each boot, where
// processors are emulated in more time than the rest of the loading takes. Its package was verified. The
// format is that of the kernel's include/linux/module_signature.h: the signature, twelve bytes with its
// length in the last four, a marker.
func unsigned(module []byte) []byte {
	const trailer, marker = 12, "~Module signature appended~\n"
	body, ok := bytes.CutSuffix(module, []byte(marker))
	if !ok || len(body) < trailer {
		return module
	}
	last := body[len(body)-4:]
	length := int(last[0])<<24 | int(last[1])<<16 | int(last[2])<<8 | int(last[3])
	if body = body[:len(body)-trailer]; length > len(body) {
		return module
	}
	return body[:len(body)-length]
}

// moduleDepends reads what a module says that it needs: modules, and those that it would like to be there
// before.
func moduleDepends(data []byte) (depends, soft []string, err error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, nil, errors.New("it is not a kernel module")
	}
	info, err := section.Data()
	if err != nil {
		return nil, nil, err
	}
	for record := range bytes.SplitSeq(info, []byte{0}) {
		key, value, _ := strings.Cut(string(record), "=")
		switch key {
		case "depends":
			depends = append(depends, strings.FieldsFunc(value, func(c rune) bool { return c == ',' })...)
		case "softdep":
			if before, ok := strings.CutPrefix(value, "pre:"); ok {
				before, _, _ = strings.Cut(before, "post:")
				soft = append(soft, strings.Fields(before)...)
			}
		}
	}
	return depends, soft, nil
}
