package pyro

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/pyro-mcp/pyro/internal/record"
)

// maxCertificates bounds what a guest is given to trust, in bytes.
const maxCertificates = 1 << 20

// hostCertificates are where hosts keep the authorities that were added to those of the system.
func hostCertificates() []string {
	return []string{
		"/usr/local/share/ca-certificates/*.crt", "/usr/local/share/ca-certificates/*/*.crt",
		"/etc/pki/ca-trust/source/anchors/*", "/etc/pki/trust/anchors/*",
		"/etc/ca-certificates/trust-source/anchors/*",
	}
}

// trust gives what a guest of this shape is to trust besides what its environment does, in PEM.
func (s Shape) trust(vm record.VM) (string, error) {
	var all []byte
	if s.CAFile != "" {
		found, err := certificatesIn(s.CAFile)
		if err == nil && len(found) == 0 {
			err = errors.New("it holds no certificate")
		}
		if err != nil {
			return "", invalid("cannot read the certificates in %q: %v", s.CAFile, err)
		}
		all = found
	}
	if s.HostCA == nil && vm.NetworkEnabled && !vm.InboundOnly || s.HostCA != nil && *s.HostCA {
		for _, pattern := range hostCertificates() {
			names, _ := filepath.Glob(pattern) // The patterns are good ones.
			for _, name := range names {
				found, err := certificatesIn(name)
				if err != nil {
					continue // What the host's own tools would pass over as well.
				}
				all = append(all, found...)
			}
		}
	}
	if len(all) > maxCertificates {
		return "", invalid("the certificates to trust have %d bytes, more than %d", len(all), maxCertificates)
	}
	return string(all), nil
}

// certificatesIn gives the certificates of a file, without what stands between them.
func certificatesIn(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxCertificates) {
		err = fmt.Errorf("it is not a file of at most %d bytes", maxCertificates)
	}
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		if !slices.Contains([]string{"CERTIFICATE", "TRUSTED CERTIFICATE"}, block.Type) {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return nil, err
		}
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes}); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}
