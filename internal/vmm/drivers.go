package vmm

import (
	"fmt"
	"maps"
	"slices"
)

// Drivers is a table of drivers by name. The program's entry makes it and hands it on: nobody else names a
// driver.
type Drivers struct {
	// Default is the name of the driver for those who do not ask for one.
	Default string
	// Open has how each driver is opened. A driver remembers what it found out about the host in cacheDir.
	Open map[string]func(cacheDir string) (Driver, error)
}

// Driver opens the driver of a name, or the default one if the name is empty.
func (d Drivers) Driver(name, cacheDir string) (Driver, error) {
	if name == "" {
		name = d.Default
	}
	open := d.Open[name]
	if open == nil {
		return nil, fmt.Errorf("no such vmm as %q: there is %q", name, d.Names())
	}
	return open(cacheDir)
}

// Names lists the drivers, sorted.
func (d Drivers) Names() []string { return slices.Sorted(maps.Keys(d.Open)) }
