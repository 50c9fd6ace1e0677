package oci

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	imagelayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/pyro-mcp/pyro/test/dockerregistry"
)

// pushReal brings the image of a layout into a registry by another implementation than ours.
func pushReal(t *testing.T, dir, to string, auth authn.Authenticator) {
	t.Helper()
	ref, err := name.ParseReference(to, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	index, err := imagelayout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	image, err := index.Image(m.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	trusting := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer trusting.CloseIdleConnections()
	if err := remote.Write(ref, image, remote.WithAuth(auth), remote.WithTransport(trusting)); err != nil {
		t.Fatal(err)
	}
}

func TestRealRegistry(t *testing.T) {
	m := simple(t, "real")
	dir := m.layoutDir(t)
	host := dockerregistry.Serve(t, "}")
	pushReal(t, dir, host+"/team/app:1", authn.Anonymous)
	s := newStore(t, "")
	got := mustPull(t, s, host+"/team/app:1")
	if want := host + "/team/app:1@" + digestOf(m.top).String(); got.Manifest.Reference != want {
		t.Errorf("got %q, want %q", got.Manifest.Reference, want)
	}
	if local := mustPull(t, s, "oci:"+dir); local.Manifest.Image.SHA256 != got.Manifest.Image.SHA256 {
		t.Error("the image from the registry differs from that of its directory")
	}
	for image, want := range map[string]string{"/team/app:2": "has no", "/team/none:1": "has no"} {
		if _, err := pull(t, s, host+image); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", image, err)
		}
	}
}

func TestRealRegistryWithPassword(t *testing.T) {
	users := filepath.Join(t.TempDir(), "htpasswd")
	// ada:secret
	if err := os.WriteFile(users, []byte(
		"ada:$2y$05$IYSgkDRVrUrflAsOum.nquSA30Y.p1zgm2Vz6VmXDc.PrED9AWnfm\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	host := dockerregistry.Serve(t, "}\nauth: {htpasswd: {realm: test, path: "+users+"}}")
	pushReal(t, simple(t, "real").layoutDir(t), host+"/team/app:1",
		&authn.Basic{Username: "ada", Password: "secret"})
	if _, err := pull(t, newStore(t, ""), host+"/team/app:1"); err == nil ||
		!strings.Contains(err.Error(), "wants credentials") {
		t.Errorf("got %v", err)
	}
	auth := base64.StdEncoding.EncodeToString([]byte("ada:secret"))
	mustPull(t, newStore(t, fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, auth)), host+"/team/app:1")
}

// What is pulled by the process that TestRealRegistryWithTLS starts, since trust is read once in a process's
// life.
const pullVariable = "PYRO_TEST_PULL"

func TestRealRegistryWithTLS(t *testing.T) {
	if image := os.Getenv(pullVariable); image != "" {
		mustPull(t, newStore(t, ""), image)
		return
	}
	dir := t.TempDir()
	certificate, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, certificate, key)
	host := dockerregistry.Serve(t, fmt.Sprintf(", tls: {certificate: %s, key: %s}}", certificate, key))
	pushReal(t, simple(t, "real").layoutDir(t), host+"/team/app:1", authn.Anonymous)
	if _, err := pull(t, newStore(t, ""), host+"/team/app:1"); err == nil ||
		!strings.Contains(err.Error(), "cannot be trusted") {
		t.Errorf("got %v", err)
	}
	if _, err := pull(t, newStore(t, ""), host+"/team/app:1", host); err != nil {
		t.Errorf("with --insecure-registry: %v", err)
	}
	trusting := exec.Command(os.Args[0], "-test.run", "^TestRealRegistryWithTLS$")
	trusting.Env = append(os.Environ(), pullVariable+"="+host+"/team/app:1", "SSL_CERT_FILE="+certificate)
	if out, err := trusting.CombinedOutput(); err != nil {
		t.Errorf("with its certificate trusted: %v %s", err, out)
	}
}

func writeCertificate(t *testing.T, certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: signed},
		key: {Type: "EC PRIVATE KEY", Bytes: encoded}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// What nobody else watches ends, too.
func TestStalledAnswer(t *testing.T) {
	gone := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("begun"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(gone)
	}))
	defer server.Close()
	g := newGuard(server.Listener.Addr().String(), nil)
	g.patience = 50 * time.Millisecond
	defer g.close()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := g.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if data, err := io.ReadAll(response.Body); err == nil || string(data) != "begun" {
		t.Errorf("got %q, %v", data, err)
	}
	<-gone
}

// A host that is not this one is asked over TLS alone, whatever its address looks like.
func TestTLSAlways(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1:5000": true, "127.1.2.3": true, "localhost:5000": true, "[::1]:5000": true,
		"10.0.0.1:5000": false, "192.168.1.1": false, "app.localhost:80": false, "registry.local": false,
		"docker.io":           false,
		"listed.example:5000": true, "listed.example": false,
	} {
		g := newGuard(host, []string{"listed.example:5000"})
		if g.plain() != want {
			t.Errorf("%s may be asked without TLS: %v", host, !want)
		}
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if want {
			continue
		}
		if _, err := g.RoundTrip(q); err == nil || !strings.Contains(err.Error(), "without it") {
			t.Errorf("%s: got %v", host, err)
		}
	}
}
