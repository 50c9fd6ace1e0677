package network

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

// checkStream gives a checker what a guest sends, and returns what reached the host and how it ended.
func checkStream(t testing.TB, port uint16, stream io.Reader) (passed []byte, refused string, err error) {
	p, err := Parse(Config{Allow: []string{"good.example.org", "*.good.example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	var host bytes.Buffer
	c := checker{host: &host, policy: p, port: port, refused: func(_, reason string) { refused = reason }}
	err = c.check(stream)
	return host.Bytes(), refused, err
}

// helloFor is what a TLS client sends first.
func helloFor(t testing.TB, cfg *tls.Config) []byte {
	ours, theirs := net.Pipe()
	go func() {
		tls.Client(ours, cfg).Handshake()
		ours.Close()
	}()
	defer theirs.Close()
	var head [5]byte
	if _, err := io.ReadFull(theirs, head[:]); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(head[3])<<8|int(head[4]))
	if _, err := io.ReadFull(theirs, body); err != nil {
		t.Fatal(err)
	}
	return append(head[:], body...)
}

// splitRecords cuts a record into records of at most size bytes.
func splitRecords(record []byte, size int) (out []byte) {
	for body := record[5:]; len(body) > 0; {
		part := body[:min(size, len(body))]
		body = body[len(part):]
		out = append(append(out, record[0], record[1], record[2], byte(len(part)>>8), byte(len(part))), part...)
	}
	return out
}

func TestHello(t *testing.T) {
	good := helloFor(t, &tls.Config{ServerName: "good.example.org"})
	for what, row := range map[string]struct {
		stream []byte
		want   string
	}{
		"a listed name":        {good, ""},
		"with bytes behind it": {append(bytes.Clone(good), "more"...), ""},
		"in capitals":          {bytes.Replace(good, []byte("good"), []byte("GoOd"), 1), ""},
		"below a listed name":  {helloFor(t, &tls.Config{ServerName: "a.good.example.org"}), ""},
		"in many records":      {splitRecords(good, 7), ""},
		"byte by byte":         {splitRecords(good, 1), ""},
		"another name":         {helloFor(t, &tls.Config{ServerName: "evil.example.org"}), "not listed"},
		"no name":              {helloFor(t, &tls.Config{InsecureSkipVerify: true}), "no server name"},
		"not TLS":              {[]byte("SSH-2.0-x\r\n"), "not the start"},
		"an alert":             {[]byte{21, 3, 1, 0, 2, 1, 0}, "not the start"},
		"an empty record":      {append([]byte{22, 3, 1, 0, 0}, good...), "not the start"},
		"another message":      {[]byte{22, 3, 1, 0, 4, 2, 0, 0, 0}, "not the start"},
		"a long message":       {[]byte{22, 3, 1, 0, 4, 1, 1, 0, 0}, "too long"},
		"cut off":              {good[:len(good)-1], "ended before"},
		"two messages":         {append([]byte{22, 3, 1, 0, byte(len(good) - 5 + 4)}, append(bytes.Clone(good[5:]), 1, 0, 0, 0)...), ""},
		"a zero in the name":   {bytes.Replace(good, []byte("good"), []byte("go\x00d"), 1), "no name of a host"},
		"an encrypted hello":   {bytes.Replace(good, []byte{0, 23, 0, 0}, []byte{0xfe, 0x0d, 0, 0}, 1), "hide its name"},
	} {
		if what == "two messages" {
			row.want = "malformed"
			row.stream[3], row.stream[4] = byte((len(good)-1)>>8), byte(len(good)-1)
		}
		for _, port := range []uint16{443, 8443} {
			if port != 443 && row.stream[0] != recordHandshake {
				continue
			}
			passed, refused, err := checkStream(t, port, iotest.OneByteReader(bytes.NewReader(row.stream)))
			switch {
			case row.want == "" && (err != nil || !bytes.HasPrefix(row.stream, passed) || len(passed) < len(good)):
				t.Errorf("%s: %v %q, %d of %d bytes passed", what, err, refused, len(passed), len(row.stream))
			case row.want != "" && (!errors.Is(err, errRefused) || !strings.Contains(refused, row.want) || len(passed) > 0):
				t.Errorf("%s: %v %q, want %q; passed %d bytes", what, err, refused, row.want, len(passed))
			}
		}
	}
}

func TestHTTP(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: good.example.org\r\n"
	const evil = "GET /evil HTTP/1.1\r\nHost: evil.example.org\r\n\r\n"
	for what, row := range map[string]struct{ stream, want string }{
		"a request":           {get + "\r\n", ""},
		"a port":              {"GET / HTTP/1.1\r\nhost:good.example.org:80\r\n\r\n", ""},
		"the whole target":    {"GET http://good.example.org/x HTTP/1.1\r\nHost: good.example.org\r\n\r\n", ""},
		"two requests":        {get + "\r\n" + get + "\r\n", ""},
		"a body":              {"POST / HTTP/1.1\r\nHost: good.example.org\r\nContent-Length: 5\r\n\r\nhello" + get + "\r\n", ""},
		"chunks":              {"POST / HTTP/1.1\r\nHost: good.example.org\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n" + get + "\r\n", ""},
		"a body like another": {"POST / HTTP/1.1\r\nHost: good.example.org\r\nContent-Length: 46\r\n\r\n" + evil, ""},
		"an upgrade":          {get + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", ""},
		"another host":        {evil, "not listed"},
		"a second host":       {get + "\r\n" + evil, "not listed"},
		"behind a body":       {"POST / HTTP/1.1\r\nHost: good.example.org\r\nContent-Length: 5\r\n\r\nhello" + evil, "not listed"},
		"two hosts":           {get + "Host: evil.example.org\r\n\r\n", "2 hosts"},
		"no host":             {"GET / HTTP/1.0\r\n\r\n", "0 hosts"},
		"an address":          {"GET / HTTP/1.1\r\nHost: 93.184.216.34\r\n\r\n", "not listed"},
		"another target":      {"GET http://evil.example.org/ HTTP/1.1\r\nHost: good.example.org\r\n\r\n", "the target"},
		"a user in target":    {"GET http://good.example.org@evil.example.org/ HTTP/1.1\r\nHost: good.example.org\r\n\r\n", "the target"},
		"CONNECT":             {"CONNECT good.example.org:443 HTTP/1.1\r\nHost: good.example.org\r\n\r\n", "CONNECT"},
		"HTTP/2":              {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "version"},
		"after an upgrade":    {get + "Connection: Upgrade\r\nUpgrade: x\r\n\r\n\x81\x05hello", "control character"},
		"bare line feeds":     {"GET / HTTP/1.1\nHost: good.example.org\n\n", "control character"},
		"a bare return":       {"GET / HTTP/1.1\r\nHost: good.example.org\rX: y\r\n\r\n", "control character"},
		"a folded line":       {get + " folded\r\n\r\n", "header line"},
		"a space at a name":   {"GET / HTTP/1.1\r\nHost : good.example.org\r\n\r\n", "header line"},
		"two lengths":         {get + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", "told twice"},
		"length and chunks":   {get + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "told twice"},
		"another coding":      {get + "Transfer-Encoding: gzip, chunked\r\n\r\n", "transfer encoding"},
		"a signed length":     {get + "Content-Length: +5\r\n\r\nhello", "length"},
		"a chunk extension":   {get + "Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n", "size of a chunk"},
		"a wrong chunk":       {get + "Transfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n", "end of a chunk"},
		"a long head":         {get + "X: " + strings.Repeat("x", firstBytes) + "\r\n\r\n", "too long"},
		"not HTTP":            {"hello\r\n", "not the start"},
	} {
		for _, port := range []uint16{80, 8080} {
			if port != 80 && what == "not HTTP" {
				continue
			}
			passed, refused, err := checkStream(t, port, iotest.HalfReader(strings.NewReader(row.stream)))
			switch {
			case row.want == "" && (err != io.EOF || string(passed) != row.stream):
				t.Errorf("%s: %v %q, passed %q", what, err, refused, passed)
			case row.want != "" && (!errors.Is(err, errRefused) || !strings.Contains(refused, row.want) || strings.Contains(string(passed), "evil")):
				t.Errorf("%s: %v %q, want %q; passed %q", what, err, refused, row.want, passed)
			}
		}
	}
	for _, stream := range []string{"SSH-2.0-x\r\n", "EHLO", "\x00\x01", "Get / "} {
		if passed, _, err := checkStream(t, 22, strings.NewReader(stream)); err != nil || string(passed) != stream {
			t.Errorf("%q on a port that is not checked: %v, passed %q", stream, err, passed)
		}
	}
}

// FuzzHTTP compares what is passed with what the standard library reads in it.
func FuzzHTTP(f *testing.F) {
	const get = "GET / HTTP/1.1\r\nHost: good.example.org\r\n"
	f.Add(get + "\r\n" + get + "\r\n")
	f.Add(get + "Content-Length: 3\r\n\r\nabc" + get + "\r\n")
	f.Add(get + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n" + get + "\r\n")
	f.Add("GET http://good.example.org/ HTTP/1.0\r\nHost: good.example.org\r\n\r\n")
	f.Fuzz(func(t *testing.T, stream string) {
		passed, _, _ := checkStream(t, 80, strings.NewReader(stream))
		if !strings.HasPrefix(stream, string(passed)) {
			t.Fatalf("%q became %q", stream, passed)
		}
		for r := bufio.NewReader(bytes.NewReader(passed)); ; {
			request, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if name, _ := canonicalName(hostOf(request.Host)); name != "good.example.org" && !strings.HasSuffix(name, ".good.example.org") {
				t.Fatalf("a request for %q in %q", request.Host, passed)
			}
			if _, err := io.Copy(io.Discard, request.Body); err != nil {
				return
			}
		}
	})
}

// FuzzHello compares the name that is found with the one that the standard library finds.
func FuzzHello(f *testing.F) {
	good := helloFor(f, &tls.Config{ServerName: "good.example.org"})
	f.Add(good)
	f.Add(splitRecords(good, 50))
	f.Add(helloFor(f, &tls.Config{InsecureSkipVerify: true}))
	f.Add(helloFor(f, &tls.Config{ServerName: "good.example.org", MaxVersion: tls.VersionTLS12}))
	f.Fuzz(func(t *testing.T, stream []byte) {
		ours, err := readServerName(bytes.NewReader(stream))
		if err != nil {
			return
		}
		theirs, found := "", false
		tls.Server(readOnly{Reader: bytes.NewReader(stream)}, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			theirs, found = h.ServerName, true
			return nil, io.EOF
		}}).Handshake()
		if canonical, ok := canonicalName(ours); found && ok && !strings.EqualFold(strings.TrimSuffix(theirs, "."), canonical) {
			t.Errorf("%q, but the library finds %q", ours, theirs)
		}
	})
}

// readOnly is a connection that only reads.
type readOnly struct {
	net.Conn
	io.Reader
}

func (r readOnly) Read(p []byte) (int, error) { return r.Reader.Read(p) }
func (readOnly) Write(p []byte) (int, error)  { return len(p), nil }
func (readOnly) Close() error                 { return nil }
