package debian

import (
	_ "embed" // for the catalog
	"encoding/json"
	"fmt"
	"slices"
)

//go:embed catalog.json
var catalogData []byte

// catalog is what this source has names for.
type catalog struct {
	Suites       map[string]suite `json:"suites"` // by code name
	Environments []recipe         `json:"environments"`
}

// suite is a release of Debian.
type suite struct {
	Keyring string `json:"keyring"` // path inside the environment, for its own apt
	// Upgrades are packages whose preinst does nothing of use for a package that was never there. They are
	// known by reading them; one that is not listed is run.
	Upgrades []string `json:"upgrades"`
}

// recipe is an environment: a suite's essential and required packages, and those named here.
type recipe struct {
	Name        string   `json:"name"`
	Version     string   `json:"version"`
	Description string   `json:"description"`
	Suite       string   `json:"suite"`
	Extends     string   `json:"extends"` // the recipe whose packages come first
	Packages    []string `json:"packages"`
}

func readCatalog(data []byte) (catalog, error) {
	var c catalog
	if err := json.Unmarshal(data, &c); err != nil {
		return catalog{}, fmt.Errorf("cannot read the catalog: %w", err)
	}
	for _, r := range c.Environments {
		if _, ok := c.Suites[r.Suite]; !ok {
			return catalog{}, fmt.Errorf("cannot read the catalog: %q is of the unknown suite %q", r.Name,
				r.Suite)
		}
	}
	return c, nil
}

// recipe returns the named recipe with the packages of those that it extends.
func (c catalog) recipe(name string) (recipe, error) {
	i := slices.IndexFunc(c.Environments, func(r recipe) bool { return r.Name == name })
	if i < 0 {
		return recipe{}, fmt.Errorf("there is no recipe for %q", name)
	}
	r := c.Environments[i]
	for depth, above := 0, r.Extends; above != ""; depth++ {
		j := slices.IndexFunc(c.Environments, func(r recipe) bool { return r.Name == above })
		if j < 0 || depth > len(c.Environments) {
			return recipe{}, fmt.Errorf("the recipe for %q extends %q, which leads nowhere", name, above)
		}
		r.Packages = append(slices.Clone(c.Environments[j].Packages), r.Packages...)
		above = c.Environments[j].Extends
	}
	return r, nil
}
