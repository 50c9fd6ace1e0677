package network

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
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
	c := checker{
		host:    &host,
		policy:  p,
		port:    port,
		refused: func(_, reason string) { refused = reason },
	}
	err = c.check(stream)
	return host.Bytes(), refused, err
}

// helloFor is what a TLS client sends first.
func helloFor(t testing.TB, cfg *tls.Config) []byte {
	client, server := net.Pipe()
	go func() {
		tls.Client(client, cfg).Handshake()
		client.Close()
	}()
	defer server.Close()
	var head [5]byte
	if _, err := io.ReadFull(server, head[:]); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(head[3])<<8|int(head[4]))
	if _, err := io.ReadFull(server, body); err != nil {
		t.Fatal(err)
	}
	return append(head[:], body...)
}

// splitRecords cuts a record into records of at most size bytes.
func splitRecords(record []byte, size int) (out []byte) {
	for body := record[5:]; len(body) > 0; {
		part := body[:min(size, len(body))]
		body = body[len(part):]
		out = append(append(out, record[0], record[1], record[2], byte(len(part)>>8), byte(len(part))),
			part...)
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
		"with bytes behind it": {append(bytes.Clone(good), "more"...), "not the start"},
		"in capitals":          {bytes.Replace(good, []byte("good"), []byte("GoOd"), 1), ""},
		"below a listed name":  {helloFor(t, &tls.Config{ServerName: "a.good.example.org"}), ""},
		"in many records":      {splitRecords(good, 7), ""},
		"byte by byte":         {splitRecords(good, 1), ""},
		"another name":         {helloFor(t, &tls.Config{ServerName: "evil.example.org"}), "not listed"},
		"no name":              {helloFor(t, &tls.Config{InsecureSkipVerify: true}), "no server name"},
		"an alert":             {[]byte{21, 3, 1, 0, 2, 1, 0}, "not a plain HTTP/1 request"},
		"an empty record":      {append([]byte{22, 3, 1, 0, 0}, good...), "not the start"},
		"another message":      {[]byte{22, 3, 1, 0, 4, 2, 0, 0, 0}, "not the start"},
		"a long message":       {[]byte{22, 3, 1, 0, 4, 1, 1, 0, 0}, "too long"},
		"cut off":              {good[:len(good)-1], "ended before"},
		"two messages": {append([]byte{22, 3, 1, 0, byte(len(good) - 5 + 4)},
			append(bytes.Clone(good[5:]), 1, 0, 0, 0)...), ""},
		"a zero in the name": {bytes.Replace(good, []byte("good"), []byte("go\x00d"), 1),
			"no name of a host"},
		"an encrypted hello": {bytes.Replace(good, []byte{0, 23, 0, 0}, []byte{0xfe, 0x0d, 0, 0}, 1),
			"hide its name"},
	} {
		if what == "two messages" {
			row.want = "malformed"
			row.stream[3], row.stream[4] = byte((len(good)-1)>>8), byte(len(good)-1)
		}
		for _, port := range []uint16{443, 8443} {
			passed, refused, err := checkStream(t, port, iotest.OneByteReader(bytes.NewReader(row.stream)))
			switch {
			case row.want == "" && (err != io.EOF || !bytes.Equal(row.stream, passed)):
				t.Errorf("%s: %v %q, %d of %d bytes passed", what, err, refused, len(passed), len(row.stream))
			case row.want != "" && (!errors.Is(err, errRefused) || !strings.Contains(refused, row.want) ||
				!bytes.HasPrefix(good, passed)):
				t.Errorf("%s: %v %q, want %q; passed %d bytes", what, err, refused, row.want, len(passed))
			}
		}
	}
}

// TestSecondHello says hello again, in every place in which a server might listen.
func TestSecondHello(t *testing.T) {
	good := helloFor(t, &tls.Config{ServerName: "good.example.org"})
	evil := helloFor(t, &tls.Config{ServerName: "evil.example.org"})
	change, alert := []byte{recordChangeCipher, 3, 3, 0, 1, 1}, []byte{recordAlert, 3, 3, 0, 2, 1, 0}
	data, sealed := []byte{recordData, 3, 3, 0, 2, 7, 7},
		append([]byte{recordHandshake, 3, 3, 0, 40}, make([]byte, 40)...)
	keys := []byte{recordHandshake, 3, 3, 0, 7, 16, 0, 0, 3, 1, 2, 3}
	end := []byte{recordHandshake, 3, 3, 0, 4, 20, 0, 0, 0}
	inOneRecord := slices.Concat([]byte{recordHandshake, 3, 3, byte((7 + len(evil) - 5) >> 8),
		byte(7 + len(evil) - 5)}, keys[5:], evil[5:])
	other := bytes.Clone(evil)
	other[9], other[10] = 5, 5 // a version that some take for TLS 1.2
	for what, row := range map[string]struct {
		records [][]byte
		want    string
	}{
		"TLS 1.3":                {[][]byte{good, change, data, data}, ""},
		"TLS 1.3 after a retry":  {[][]byte{good, change, good, data, data}, ""},
		"early data and a retry": {[][]byte{good, change, data, good, data}, ""},
		"a retry in pieces":      {[][]byte{good, change, splitRecords(good, 9), data}, ""},
		"TLS 1.2":                {[][]byte{good, keys, change, sealed, data, alert}, ""},
		"TLS 1.2 with a certificate": {[][]byte{good, slices.Concat([]byte{recordHandshake, 3, 3, 0, 11},
			[]byte{11, 0, 0, 0}, keys[5:]), change, sealed, data}, ""},
		"another name at once":   {[][]byte{good, evil}, "not listed"},
		"after the change":       {[][]byte{good, change, evil}, "not listed"},
		"after two changes":      {[][]byte{good, change, change, evil}, "not listed"},
		"without a change":       {[][]byte{good, alert, evil}, "not listed"},
		"after early data":       {[][]byte{good, data, evil}, "not listed"},
		"after the keys":         {[][]byte{good, keys, evil}, "not listed"},
		"after the keys, in one": {[][]byte{good, inOneRecord}, "not listed"},
		"in pieces":              {[][]byte{good, change, splitRecords(evil, 1)}, "not listed"},
		"in long pieces":         {[][]byte{good, change, splitRecords(evil, 100)}, "not listed"},
		"of another version":     {[][]byte{good, change, other}, "not listed"},
		"a third one":            {[][]byte{good, change, good, evil}, "not listed"},
		"hidden in a renegotiation": {[][]byte{good, keys, change, sealed, data, sealed},
			"second TLS handshake"},
		"at once in a renegotiation": {[][]byte{good, keys, change, sealed, evil}, "second TLS handshake"},
		"after the handshake":        {[][]byte{good, change, data, sealed}, "second TLS handshake"},
		"data within a hello": {[][]byte{good, change, splitRecords(evil, 100)[:105], data},
			"malformed"},
		"a heartbeat":                  {[][]byte{good, {24, 3, 3, 0, 1, 1}}, "not the start"},
		"an end that is not encrypted": {[][]byte{good, end, evil}, "not listed"},
	} {
		stream := slices.Concat(row.records...)
		passed, refused, err := checkStream(t, 443, iotest.OneByteReader(bytes.NewReader(stream)))
		switch {
		case row.want == "" && (err != io.EOF || !bytes.Equal(passed, stream)):
			t.Errorf("%s: %v %q, %d of %d bytes passed", what, err, refused, len(passed), len(stream))
		case row.want != "" && (!errors.Is(err, errRefused) || !strings.Contains(refused, row.want) ||
			bytes.Contains(passed, []byte("evil"))):
			t.Errorf("%s: %v %q, want %q; passed %d bytes", what, err, refused, row.want, len(passed))
		}
	}
}

func TestHTTP(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: good.example.org\r\n"
	const evil = "GET /evil HTTP/1.1\r\nHost: evil.example.org\r\n\r\n"
	for what, row := range map[string]struct{ stream, want string }{
		"a request": {get + "\r\n", ""},
		"a port":    {"GET / HTTP/1.1\r\nhost:good.example.org:80\r\n\r\n", ""},
		"the whole target": {"GET http://good.example.org/x HTTP/1.1\r\nHost: good.example.org\r\n\r\n",
			""},
		"two requests": {get + "\r\n" + get + "\r\n", ""},
		"a body": {"POST / HTTP/1.1\r\nHost: good.example.org\r\nContent-Length: 5\r\n\r\nhello" + get +
			"\r\n", ""},
		"chunks": {"POST / HTTP/1.1\r\nHost: good.example.org\r\n" +
			"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n" + get + "\r\n", ""},
		"a body like another": {"POST / HTTP/1.1\r\nHost: good.example.org\r\nContent-Length: 46\r\n\r\n" +
			evil, ""},
		"an upgrade":    {get + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", ""},
		"another host":  {evil, "not listed"},
		"a second host": {get + "\r\n" + evil, "not listed"},
		"behind a body": {"POST / HTTP/1.1\r\nHost: good.example.org\r\nContent-Length: 5\r\n\r\nhello" +
			evil, "not listed"},
		"two hosts":  {get + "Host: evil.example.org\r\n\r\n", "2 hosts"},
		"no host":    {"GET / HTTP/1.0\r\n\r\n", "0 hosts"},
		"an address": {"GET / HTTP/1.1\r\nHost: 93.184.216.34\r\n\r\n", "not listed"},
		"another target": {"GET http://evil.example.org/ HTTP/1.1\r\nHost: good.example.org\r\n\r\n",
			"the target"},
		"a user in target": {"GET http://good.example.org@evil.example.org/ HTTP/1.1\r\n" +
			"Host: good.example.org\r\n\r\n", "the target"},
		"CONNECT": {"CONNECT good.example.org:443 HTTP/1.1\r\nHost: good.example.org\r\n\r\n",
			"CONNECT"},
		"HTTP/2":           {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "version"},
		"after an upgrade": {get + "Connection: Upgrade\r\nUpgrade: x\r\n\r\n\x81\x05hello", "the method"},
		"bare line feeds":  {"GET / HTTP/1.1\nHost: good.example.org\n\n", "control character"},
		"a bare return": {"GET / HTTP/1.1\r\nHost: good.example.org\rX: y\r\n\r\n",
			"control character"},
		"a folded line":     {get + " folded\r\n\r\n", "header line"},
		"a space at a name": {"GET / HTTP/1.1\r\nHost : good.example.org\r\n\r\n", "header line"},
		"two lengths":       {get + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", "told twice"},
		"length and chunks": {get + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
			"told twice"},
		"another coding":  {get + "Transfer-Encoding: gzip, chunked\r\n\r\n", "transfer encoding"},
		"a signed length": {get + "Content-Length: +5\r\n\r\nhello", "length"},
		"a chunk extension": {get + "Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n",
			"size of a chunk"},
		"a wrong chunk": {get + "Transfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n",
			"end of a chunk"},
		"a long head":         {get + "X: " + strings.Repeat("x", firstBytes) + "\r\n\r\n", "too long"},
		"not HTTP":            {"hello\r\n", "the method"},
		"an empty line first": {"\r\n" + evil, "the method"},
		"a line feed first":   {"\n" + evil, "the method"},
		"a space first":       {" " + evil, "the method"},
		"in small letters":    {strings.Replace(evil, "GET", "get", 1), "the method"},
		"another method":      {strings.Replace(evil, "GET", "M-SEARCH", 1), "not listed"},
		"a long method":       {strings.Replace(evil, "GET", strings.Repeat("X", 300), 1), "the method"},
		"an odd method":       {strings.Replace(evil, "GET", "G(ET", 1), "the method"},
		"a tab":               {strings.Replace(evil, "GET ", "GET\t", 1), "the method"},
		"no version":          {"GET /evil\r\nHost: evil.example.org\r\n\r\n", "the first line"},
		"a secure target": {"GET https://evil.example.org/ HTTP/1.1\r\nHost: good.example.org\r\n\r\n",
			"the target"},
		"like SSH":         {"SSH-2.0-x /evil HTTP/1.1\r\nHost: evil.example.org\r\n\r\n", "SSH"},
		"like SSH, old":    {"SSH-2.0-x http:evil\r\n", "SSH"},
		"bytes":            {"\x00\x01\x02\r\n\r\n" + evil, "the method"},
		"a proxy's header": {"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n" + evil, "the first line"},
	} {
		for _, port := range []uint16{80, 8080} {
			passed, refused, err := checkStream(t, port, iotest.HalfReader(strings.NewReader(row.stream)))
			switch {
			case row.want == "" && (err != io.EOF || string(passed) != row.stream):
				t.Errorf("%s: %v %q, passed %q", what, err, refused, passed)
			case row.want != "" && (!errors.Is(err, errRefused) || !strings.Contains(refused, row.want) ||
				strings.Contains(string(passed), "evil")):
				t.Errorf("%s: %v %q, want %q; passed %q", what, err, refused, row.want, passed)
			}
		}
	}
}

func TestSSH(t *testing.T) {
	for _, stream := range []string{"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n\x00\x00", "SSH-2.0-Go\r\n",
		"SSH-2.0-x\n"} {
		for _, port := range []uint16{22, 443} {
			if passed, refused, err := checkStream(t, port, strings.NewReader(stream)); err != nil ||
				string(passed) != stream {
				t.Errorf("%q: %v %q, passed %q", stream, err, refused, passed)
			}
		}
	}
	for _, stream := range []string{"SSH-1.5-x\r\n", "SSH-2.0-x\x00\r\n",
		"SSH-2.0-" + strings.Repeat("x", maxSSHLine), "SSH-2.0-\xff\r\n"} {
		if passed, _, err := checkStream(t, 22, strings.NewReader(stream)); !errors.Is(err, errRefused) ||
			len(passed) > 0 {
			t.Errorf("%q: %v, passed %q", stream, err, passed)
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
			if name, _ := canonicalName(hostOf(request.Host)); name != "good.example.org" &&
				!strings.HasSuffix(name, ".good.example.org") {
				t.Fatalf("a request for %q in %q", request.Host, passed)
			}
			if _, err := io.Copy(io.Discard, request.Body); err != nil {
				return
			}
		}
	})
}

// FuzzTLS compares what is passed with what the standard library reads in it: each hello in the clear is for
// a listed name, wherever it stands.
func FuzzTLS(f *testing.F) {
	good := helloFor(f, &tls.Config{ServerName: "good.example.org"})
	evil := helloFor(f, &tls.Config{ServerName: "evil.example.org"})
	change, data := []byte{recordChangeCipher, 3, 3, 0, 1, 1}, []byte{recordData, 3, 3, 0, 2, 7, 7}
	for _, stream := range [][]byte{
		good, splitRecords(good, 50), slices.Concat(good, change, evil),
		slices.Concat(good, data, change, good, data),
		slices.Concat(good, change, []byte{recordHandshake, 3, 3, 0, 1, 0}, data),
		slices.Concat(good, change, splitRecords(evil, 60)),
		helloFor(f, &tls.Config{InsecureSkipVerify: true}),
		helloFor(f, &tls.Config{ServerName: "good.example.org", MaxVersion: tls.VersionTLS12}),
	} {
		f.Add(stream)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		passed, _, _ := checkStream(t, 443, bytes.NewReader(stream))
		if !bytes.HasPrefix(stream, passed) {
			t.Fatalf("%x became %x", stream, passed)
		}
		if len(passed) > 0 && passed[0] != recordHandshake {
			return // SSH or HTTP
		}
		for at := 0; at+5 <= len(passed); at += 5 + int(binary.BigEndian.Uint16(passed[at+3:])) {
			if passed[at] != recordHandshake {
				continue
			}
			name, found := libraryName(passed[at:])
			if canonical, _ := canonicalName(name); found && canonical != "good.example.org" &&
				!strings.HasSuffix(canonical, ".good.example.org") {
				t.Fatalf("a hello for %q at %d of %x", name, at, passed)
			}
		}
	})
}

// libraryName is the name that the standard library's server finds in the hello that a stream begins with.
func libraryName(stream []byte) (name string, found bool) {
	tls.Server(readOnly{Reader: bytes.NewReader(stream)},
		&tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			name, found = h.ServerName, true
			return nil, io.EOF
		}}).Handshake()
	return name, found
}

// readOnly is a connection that only reads.
type readOnly struct {
	net.Conn
	io.Reader
}

func (r readOnly) Read(p []byte) (int, error) { return r.Reader.Read(p) }
func (readOnly) Write(p []byte) (int, error)  { return len(p), nil }
func (readOnly) Close() error                 { return nil }
