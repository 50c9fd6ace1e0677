package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Where systems keep the authorities that their programs trust. The first is made if there is none.
const (
	mainBundle = "etc/ssl/certs/ca-certificates.crt"
	// opensslBundle is looked for by OpenSSL itself, and with it by Python.
	opensslBundle = "etc/ssl/cert.pem"
	// addedAnchor is where Debian's update-ca-certificates looks for what to add, should it run.
	addedAnchor = "usr/local/share/ca-certificates/pyro-host.crt"
)

// bundles are the other places.
func bundles() []string {
	return []string{
		"etc/pki/tls/certs/ca-bundle.crt", "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
		"etc/ssl/ca-bundle.pem", opensslBundle,
	}
}

// trust adds certificates, in PEM, to what a system's programs trust, once, and gives the variables by which
// those know of it that bring authorities of their own.
func trust(root, certificates string) ([]string, error) {
	main := filepath.Join(root, mainBundle)
	if err := os.MkdirAll(filepath.Dir(main), 0o755); err != nil {
		return nil, err
	}
	if err := addTo(main, certificates, true); err != nil {
		return nil, fmt.Errorf("cannot have the certificates trusted: %w", err)
	}
	for _, name := range bundles() {
		err := addTo(filepath.Join(root, name), certificates, false)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("cannot have the certificates trusted: %w", err)
		}
	}
	if _, err := os.Stat(filepath.Join(root, opensslBundle)); err != nil {
		// It may be a link that leads nowhere.
		_ = os.Remove(filepath.Join(root, opensslBundle))
		if err := os.Symlink("certs/ca-certificates.crt", filepath.Join(root, opensslBundle)); err != nil {
			return nil, err
		}
	}
	anchor := filepath.Join(root, addedAnchor)
	if err := os.MkdirAll(filepath.Dir(anchor), 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(anchor, []byte(certificates), 0o644); err != nil {
		return nil, err
	}
	whole := "/" + mainBundle
	return []string{
		"SSL_CERT_FILE=" + whole, "REQUESTS_CA_BUNDLE=" + whole, "PIP_CERT=" + whole,
		"NODE_EXTRA_CA_CERTS=" + "/" + addedAnchor,
	}, nil
}

// addTo adds certificates to a bundle that has not got them.
func addTo(name, certificates string, missing bool) error {
	data, err := os.ReadFile(name)
	if err != nil && !(missing && errors.Is(err, fs.ErrNotExist)) {
		return err
	}
	if strings.Contains(string(data), certificates) {
		return nil
	}
	if len(data) > 0 && data[len(data)-1] != '\n' {
		data = append(data, '\n')
	}
	return os.WriteFile(name, append(data, certificates...), 0o644)
}
