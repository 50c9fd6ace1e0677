package debian

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	encoding "encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/klauspost/compress/gzip"
)

// now is when the test's archive lives.
func now() time.Time { return time.Date(2030, 1, 10, 12, 0, 0, 0, time.UTC) }

// mirrorDouble is a small signed archive: three suites, made by code, served over HTTP with faults.
type mirrorDouble struct {
	*httptest.Server
	key    *openpgp.Entity
	files  map[string][]byte // by path
	suites map[string]*suiteDouble
	fault  func(w http.ResponseWriter, r *http.Request) bool
}

// suiteDouble is what a suite's InRelease says.
type suiteDouble struct {
	index    bytes.Buffer
	date     time.Time
	until    string
	codename string // if another than its own
	signer   *openpgp.Entity
}

func newMirror(t *testing.T) *mirrorDouble {
	t.Helper()
	key, err := openpgp.NewEntity("Test Archive", "", "archive@example.org",
		&packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		t.Fatal(err)
	}
	m := &mirrorDouble{key: key, files: map[string][]byte{}, suites: map[string]*suiteDouble{}}
	for _, name := range []string{"bookworm", "bookworm-updates", "bookworm-security"} {
		m.suites[name] = &suiteDouble{date: now().Add(-time.Hour)}
	}
	m.Server = httptest.NewServer(m)
	t.Cleanup(m.Close)
	return m
}

func (m *mirrorDouble) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if m.fault != nil && m.fault(w, r) {
		return
	}
	data, ok := m.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// publish writes the suites' indexes and signs their InRelease.
func (m *mirrorDouble) publish(t *testing.T) {
	t.Helper()
	for name, s := range m.suites {
		root := "/debian"
		if strings.HasSuffix(name, "-security") {
			root = "/debian-security"
		}
		index := gzipped(t, s.index.Bytes())
		digest := digestOf(index)
		dir := root + "/dists/" + name + "/main/binary-amd64/"
		m.files[dir+"by-hash/SHA256/"+digest] = index
		codename := s.codename
		if codename == "" {
			codename = name
		}
		text := fmt.Sprintf("Origin: Debian\nCodename: %s\nDate: %s\n%sAcquire-By-Hash: yes\nSHA256:\n"+
			" %s %d main/binary-amd64/Packages.gz\n",
			codename, s.date.Format(time.RFC1123), s.until, digest, len(index))
		signer := s.signer
		if signer == nil {
			signer = m.key
		}
		m.files[root+"/dists/"+name+"/InRelease"] = clearSign(t, signer, text)
	}
}

func clearSign(t *testing.T, key *openpgp.Entity, text string) []byte {
	t.Helper()
	var signed bytes.Buffer
	w, err := clearsign.Encode(&signed, key.PrivateKey, nil)
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return signed.Bytes()
}

// add puts a package into a suite. Fields are further lines of its control file.
func (m *mirrorDouble) add(
	t *testing.T, suite, name, version, fields string, scripts map[string]string, files ...tarFile,
) {
	t.Helper()
	control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: amd64\n"+
		"Maintainer: T <t@example.org>\nDescription: %s\n%s", name, version, name, fields)
	inside := []tarFile{{"./control", control, 0o644}}
	for script, text := range scripts {
		inside = append(inside, tarFile{"./" + script, text, 0o755})
	}
	deb := ar(map[string][]byte{
		"debian-binary": []byte("2.0\n"), "control.tar.gz": gzipped(t, tarred(t, inside)),
		"data.tar.gz": gzipped(t, tarred(t, files)),
	})
	path := "pool/main/" + name + "_" + version[strings.IndexByte(version, ':')+1:] + "_amd64.deb"
	root := "/debian/"
	if strings.HasSuffix(suite, "-security") {
		root = "/debian-security/"
	}
	m.files[root+path] = deb
	fmt.Fprintf(&m.suites[suite].index, "%sFilename: %s\nSize: %d\nSHA256: %s\n\n", control, path, len(deb),
		digestOf(deb))
}

type tarFile struct {
	name, content string // content of a link begins with "->"
	mode          int64
}

func tarred(t *testing.T, files []tarFile) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{
			Name:     f.name,
			Mode:     f.mode,
			Size:     int64(len(f.content)),
			Typeflag: tar.TypeReg,
			ModTime:  now(),
		}
		if target, ok := strings.CutPrefix(f.content, "->"); ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, target, 0
			f.content = ""
		} else if strings.HasSuffix(f.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func ar(members map[string][]byte) []byte {
	b := bytes.NewBufferString(arMagic)
	for _, name := range []string{"debian-binary", "control.tar.gz", "data.tar.gz"} {
		data, ok := members[name]
		if !ok {
			continue
		}
		fmt.Fprintf(b, "%-16s%-12d%-6d%-6d%-8o%-10d`\n", name, 0, 0, 0, 0o100644, len(data))
		b.Write(data)
		if len(data)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// module makes the smallest ELF file that says what a kernel module says.
func module(info ...string) string {
	modinfo, names := strings.Join(info, "\x00")+"\x00", "\x00.modinfo\x00.shstrtab\x00"
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9))
	for _, f := range []any{
		uint16(1), uint16(62), uint32(1), uint64(0), uint64(0), uint64(64 + len(modinfo) + len(names)),
		uint32(0), // where the sections are
		uint16(64), uint16(0), uint16(0), uint16(64), uint16(3), uint16(2),
	} {
		encoding.Write(&b, encoding.LittleEndian, f)
	}
	b.WriteString(modinfo + names)
	b.Write(make([]byte, 64))
	for _, s := range []struct {
		name, kind uint32
		off, size  int
	}{{1, 1, 64, len(modinfo)}, {10, 3, 64 + len(modinfo), len(names)}} {
		for _, f := range []any{s.name, s.kind, uint64(0), uint64(0), uint64(s.off), uint64(s.size),
			uint32(0), uint32(0), uint64(1), uint64(0)} {
			encoding.Write(&b, encoding.LittleEndian, f)
		}
	}
	return b.String()
}
