package e2e

import (
	"archive/zip"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority makes a certificate for names, and the PEM of the authority that signed it.
func authority(t *testing.T, names ...string) (tls.Certificate, []byte) {
	t.Helper()
	sign := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate,
		*ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if parent == nil {
			parent, signer = template, key
		}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		made, err := x509.ParseCertificate(raw)
		if err != nil {
			t.Fatal(err)
		}
		return made, key
	}
	ca, caKey := sign(&x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test authority"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}, nil, nil)
	leaf, key := sign(&x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: names[0]},
		DNSNames:     names,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca, caKey)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})
}

// serve answers HTTP on a listener until the test ends.
func serve(t *testing.T, l net.Listener, h http.Handler) {
	server := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-done })
}

// gitServer serves a repository with one file as git's own server does, at /probe.git.
func gitServer(t *testing.T) http.Handler {
	t.Helper()
	root := t.TempDir()
	script := `git init -q -b main work && cd work && echo 'from the repository' > file && git add file &&
git -c user.name=t -c user.email=t@example.org commit -q -m first && git clone -q --bare . ../probe.git`
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "HOME="+root, "GIT_CONFIG_NOSYSTEM=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot make a repository: %v: %s", err, out)
	}
	path, err := exec.CommandContext(t.Context(), "git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	return &cgi.Handler{Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "HOME=" + root}}
}

// pythonIndex serves a simple index with one package, at /simple/.
func pythonIndex(t *testing.T) http.Handler {
	t.Helper()
	const name = "probe-1.0-py3-none-any.whl"
	var wheel bytes.Buffer
	z := zip.NewWriter(&wheel)
	for _, file := range []struct{ name, text string }{
		{"probe.py", "print('from the package')\n"},
		{"probe-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: probe\nVersion: 1.0\n"},
		{"probe-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n" +
			"Tag: py3-none-any\n"},
		{"probe-1.0.dist-info/RECORD", "probe.py,,\nprobe-1.0.dist-info/METADATA,,\nprobe-1.0.dist-info/WHEEL,,\nprobe-1.0.dist-info/RECORD,,\n"},
	} {
		w, err := z.Create(file.name)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, file.text)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	give := func(path, kind string, data []byte) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.Write(data)
		})
	}
	give("/simple/probe/", "text/html", []byte(`<!DOCTYPE html><a href="/files/`+name+`">`+name+`</a>`))
	give("/files/"+name, "application/zip", wheel.Bytes())
	return mux
}

// packPip writes the pip that comes with the host's Python to a zip that Python runs from: the environment
// has none. It is compiled, since a guest under emulation takes most of a minute for that; a guest with
// another Python does it itself.
func packPip(t *testing.T, file string) {
	t.Helper()
	const script = `
import compileall, ensurepip, glob, os, py_compile, shutil, sys, zipfile
places = [os.path.join(os.path.dirname(ensurepip.__file__), "_bundled"), "/usr/share/python-wheels"]
wheel = [w for p in places for w in glob.glob(os.path.join(p, "pip-*.whl"))][0]
to, tree = sys.argv[1:]
zipfile.ZipFile(wheel).extractall(tree)
compileall.compile_dir(tree, quiet=2, legacy=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
shutil.make_archive(to, "zip", tree)
`
	cmd := exec.CommandContext(t.Context(), "python3", "-c", script, strings.TrimSuffix(file, ".zip"),
		t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("this test needs python3 with ensurepip (Debian's python3-venv): %v: %s", err, out)
	}
}

// byHost leads each name to its server; others are greeted by the name that they asked for.
func byHost(servers map[string]http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := servers[r.Host]; h != nil {
			h.ServeHTTP(w, r)
			return
		}
		fmt.Fprintf(w, "hello %s\n", r.Host)
	})
}
