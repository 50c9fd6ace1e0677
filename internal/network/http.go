package network

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// checkHTTP passes on HTTP requests one by one, each only if its host is listed, since a connection can be
// used for many. It is strict: a request that two servers could read in two ways is refused, for it could
// carry another one within. So are CONNECT, changes of protocol, and HTTP/2 without TLS.
//
// It returns io.EOF when the guest has sent its last request.
func (c *checker) checkHTTP(r *bufio.Reader) error {
	for first := true; ; first = false {
		if _, err := r.Peek(1); err != nil {
			return err
		}
		head, err := readRequest(r)
		if err == nil {
			var request request
			if request, err = parseHead(head); err == nil {
				if err := c.judge(hostOf(request.host)); err != nil {
					return err
				}
				if _, err := c.host.Write(head); err != nil {
					return err
				}
				err = copyBody(c.host, r, request)
			}
		}
		var bad badRequest
		if errors.As(err, &bad) {
			reason := bad.Error()
			if first {
				reason += "; " + spoken
			}
			return c.refuse("", reason)
		}
		if err != nil {
			return err
		}
	}
}

// hostOf takes the port off the host of a request.
func hostOf(authority string) string {
	if host, _, err := net.SplitHostPort(authority); err == nil {
		return host
	}
	return authority
}

// badRequest says why a request is not understood.
type badRequest string

func (b badRequest) Error() string { return "not a plain HTTP/1 request: " + string(b) }

func bad(format string, args ...any) error { return badRequest(fmt.Sprintf(format, args...)) }

// request is what matters of a request's head.
type request struct {
	host    string
	length  int64 // of the body
	chunked bool
}

// readRequest reads the head of a request. What does not begin like one is refused before more of it has
// come.
func readRequest(r *bufio.Reader) ([]byte, error) {
	if err := checkMethod(r); err != nil {
		return nil, err
	}
	line, err := readLine(r, firstBytes)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	if _, _, _, err := parseFirstLine(strings.TrimSuffix(string(line), "\r\n")); err != nil {
		return nil, err
	}
	rest, err := readHead(r)
	return append(line, rest...), err
}

// maxMethod is more than any registered method has.
const maxMethod = 32

// checkMethod looks at a method, a word in capitals before a space, and at no more bytes than it takes to
// tell.
func checkMethod(r *bufio.Reader) error {
	for i := 1; i <= maxMethod; i++ {
		got, err := r.Peek(i)
		switch {
		case err == io.EOF:
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
		switch c := got[i-1]; {
		case c == ' ' && i > 1:
			return nil
		case c != '-' && (c < 'A' || c > 'Z'):
			return bad("the method")
		}
	}
	return bad("the method")
}

// parseFirstLine takes the first line of a request apart.
func parseFirstLine(line string) (method, target, version string, err error) {
	parts := strings.Split(line, " ")
	if len(parts) != 3 || !isToken(parts[0]) || parts[1] == "" {
		return "", "", "", bad("the first line")
	}
	method, target, version = parts[0], parts[1], parts[2]
	switch {
	case version != "HTTP/1.1" && version != "HTTP/1.0":
		err = bad("version %.20q", version)
	case method == "CONNECT":
		err = bad("CONNECT leads anywhere")
	}
	return method, target, version, err
}

// readHead reads the lines of a head up to and with its empty line.
func readHead(r *bufio.Reader) ([]byte, error) {
	var head []byte
	for {
		line, err := readLine(r, firstBytes-len(head))
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		head = append(head, line...)
		if len(line) == 2 {
			return head, nil
		}
	}
}

// readLine reads a line with its CR LF, of at most limit bytes, in which no other control characters stand.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		c, err := r.ReadByte()
		if err != nil {
			return nil, err
		}
		line = append(line, c)
		ended := len(line) >= 2 && line[len(line)-2] == '\r'
		switch {
		case len(line) > limit:
			return nil, bad("the head is too long")
		case c == '\n' && ended:
			return line, nil
		case ended, c < ' ' && c != '\t' && c != '\r', c == 0x7f:
			return nil, bad("a control character")
		}
	}
}

// parseHead finds out for which host a request is and how its body is delimited.
func parseHead(head []byte) (request, error) {
	var q request
	lines := strings.Split(strings.TrimSuffix(string(head), "\r\n\r\n"), "\r\n")
	_, target, version, err := parseFirstLine(lines[0])
	if err != nil {
		return q, err
	}
	var hosts, lengths, codings []string
	for _, line := range lines[1:] {
		name, value, found := strings.Cut(line, ":")
		if !found || !isToken(name) {
			return q, bad("a header line")
		}
		value = strings.Trim(value, " \t")
		switch strings.ToLower(name) {
		case "host":
			hosts = append(hosts, value)
		case "content-length":
			lengths = append(lengths, value)
		case "transfer-encoding":
			codings = append(codings, value)
		}
	}
	if len(hosts) != 1 || hosts[0] == "" {
		return q, bad("%d hosts", len(hosts))
	}
	q.host = hosts[0]
	if target[0] != '/' && target != "*" {
		rest, found := strings.CutPrefix(strings.ToLower(target), "http://")
		authority := rest[:len(rest)-len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyz0123456789-_.:"))]
		rest = rest[len(authority):]
		if !found || rest != "" && rest[0] != '/' && rest[0] != '?' || !strings.EqualFold(authority, q.host) {
			return q, bad("the target")
		}
	}
	switch {
	case len(lengths)+len(codings) > 1:
		return q, bad("the length is told twice")
	case len(codings) == 1:
		q.chunked = true
		if !strings.EqualFold(codings[0], "chunked") || version == "HTTP/1.0" {
			return q, bad("transfer encoding %.20q", codings[0])
		}
	case len(lengths) == 1:
		length, err := strconv.ParseUint(lengths[0], 10, 62)
		if err != nil {
			return q, bad("length %.20q", lengths[0])
		}
		q.length = int64(length)
	}
	return q, nil
}

// isToken tells whether the text can be a method or the name of a header.
func isToken(text string) bool {
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
			return false
		}
	}
	return text != ""
}

// copyBody passes on the body of a request.
func copyBody(w io.Writer, r *bufio.Reader, q request) error {
	if !q.chunked {
		return copyCount(w, r, q.length)
	}
	for {
		line, err := readLine(r, 20)
		if err != nil {
			return err
		}
		size, err := strconv.ParseUint(string(bytes.TrimSuffix(line, []byte("\r\n"))), 16, 62)
		if err != nil {
			return bad("the size of a chunk")
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
		if size == 0 {
			break
		}
		if err := copyCount(w, r, int64(size)); err != nil {
			return err
		}
		end, err := r.Peek(2)
		if err != nil {
			return err
		}
		if string(end) != "\r\n" {
			return bad("the end of a chunk")
		}
		if err := copyCount(w, r, 2); err != nil {
			return err
		}
	}
	trailer, err := readHead(r)
	if err != nil {
		return err
	}
	_, err = w.Write(trailer)
	return err
}

// copyCount passes on count bytes from the reader's own buffer.
func copyCount(w io.Writer, r *bufio.Reader, count int64) error {
	for count > 0 {
		if _, err := r.Peek(1); err != nil {
			return err
		}
		have, _ := r.Peek(int(min(count, int64(r.Buffered()))))
		done, err := w.Write(have)
		if err != nil {
			return err
		}
		r.Discard(done)
		count -= int64(done)
	}
	return nil
}
