package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Certificates are added to each bundle that a system has, once, and to one that is made if it has none; a
// link of OpenSSL's that leads nowhere is put right.
func TestTrust(t *testing.T) {
	const certificate = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
	for _, bare := range []bool{true, false} {
		root := t.TempDir()
		for _, dir := range []string{"etc/ssl/certs", "etc/pki/tls/certs"} {
			if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink("nowhere", filepath.Join(root, opensslBundle)); err != nil {
			t.Fatal(err)
		}
		want := certificate
		names := []string{mainBundle, opensslBundle}
		if !bare {
			want, names = "theirs\n"+certificate, append(names, "etc/pki/tls/certs/ca-bundle.crt")
			for _, name := range []string{mainBundle, "etc/pki/tls/certs/ca-bundle.crt"} {
				if err := os.WriteFile(filepath.Join(root, name), []byte("theirs"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range 2 {
			env, err := trust(root, certificate)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(strings.Join(env, " "), "SSL_CERT_FILE=/"+mainBundle) {
				t.Errorf("the variables are %v", env)
			}
		}
		for _, name := range names {
			got, err := os.ReadFile(filepath.Join(root, name))
			if err != nil || string(got) != want {
				t.Errorf("%s is %q, %v", name, got, err)
			}
		}
	}
}
