package patch

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1" //nolint:gosec // git names contents by it
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/diff"
)

// Version is a file at one moment. Git knows of permissions only whether a file can be run.
type Version struct {
	Content []byte // of a link its target
	// BlobID is git's name of the content, if only that is known.
	BlobID     string
	Executable bool
	Link       bool
}

// BlobID is git's name of a content.
func BlobID(content []byte) string {
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", len(content))
	h.Write(content)
	return hex.EncodeToString(h.Sum(nil))
}

func (v *Version) id() string {
	switch {
	case v == nil:
		return strings.Repeat("0", 2*sha1.Size)
	case v.BlobID != "":
		return v.BlobID
	}
	return BlobID(v.Content)
}

func (v *Version) mode() string {
	switch {
	case v.Link:
		return "120000"
	case v.Executable:
		return "100755"
	}
	return "100644"
}

// text tells whether a version's content can stand in a patch line by line.
func (v *Version) text() bool {
	return v == nil || v.BlobID == "" && utf8.Valid(v.Content) && bytes.IndexByte(v.Content, 0) < 0
}

// Make gives the part of a patch that makes a file's one version the other, as git apply takes it. nil is no
// file. A file that becomes a link, or the other way round, goes and comes.
func Make(name string, from, to *Version) string {
	if from != nil && to != nil && from.Link != to.Link {
		return Make(name, from, nil) + Make(name, nil, to)
	}
	var b strings.Builder
	a, z := quote("a/"+name), quote("b/"+name)
	fmt.Fprintf(&b, "diff --git %s %s\n", a, z)
	mode := ""
	switch {
	case from == nil:
		fmt.Fprintf(&b, "new file mode %s\n", to.mode())
	case to == nil:
		fmt.Fprintf(&b, "deleted file mode %s\n", from.mode())
	case from.mode() != to.mode():
		fmt.Fprintf(&b, "old mode %s\nnew mode %s\n", from.mode(), to.mode())
	default:
		mode = " " + to.mode()
	}
	if from.id() == to.id() {
		return b.String()
	}
	fmt.Fprintf(&b, "index %s..%s%s\n", from.id(), to.id(), mode)
	if !from.text() || !to.text() {
		b.WriteString(binary(to))
		return b.String()
	}
	var before, after []byte
	if from == nil {
		a = "/dev/null"
	} else {
		before = from.Content
	}
	if to == nil {
		z = "/dev/null"
	} else {
		after = to.Content
	}
	// The first lines are of another form.
	hunks := diff.Diff("a", before, "z", after)
	if at := bytes.Index(hunks, []byte("\n@@ ")); at >= 0 {
		fmt.Fprintf(&b, "--- %s\n+++ %s\n%s", tabbed(a), tabbed(z), hunks[at+1:])
	}
	return b.String()
}

// tabbed ends a name with blanks in it, as git does, so that nobody takes what follows for a time.
func tabbed(name string) string {
	if strings.Contains(name, " ") && name[0] != '"' {
		return name + "\t"
	}
	return name
}

// quote writes a name as git does if it has bytes that are not plain.
func quote(name string) string {
	plain := true
	for i := range len(name) {
		plain = plain && name[i] >= 0x20 && name[i] < 0x7f && name[i] != '"' && name[i] != '\\'
	}
	if plain {
		return name
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(name) {
		switch c := name[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < 0x20 || c >= 0x7f:
			fmt.Fprintf(&b, "\\%03o", c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// base85 is git's alphabet.
const base85 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"

// binaryLine is how many bytes stand in a line.
const binaryLine = 52

// binary gives the whole new content, as git's binary patches have it.
func binary(to *Version) string {
	var content []byte
	if to != nil {
		content = to.Content
	}
	var deflated bytes.Buffer
	z := zlib.NewWriter(&deflated)
	_, _ = z.Write(content) // Into memory.
	_ = z.Close()
	var b strings.Builder
	fmt.Fprintf(&b, "GIT binary patch\nliteral %d\n", len(content))
	for data := deflated.Bytes(); len(data) > 0; {
		line := data[:min(len(data), binaryLine)]
		data = data[len(line):]
		b.WriteByte(lengthMark(len(line)))
		for len(line) > 0 {
			var four [4]byte
			line = line[copy(four[:], line):]
			n := uint32(four[0])<<24 | uint32(four[1])<<16 | uint32(four[2])<<8 | uint32(four[3])
			var five [5]byte
			for i := range five {
				five[len(five)-1-i], n = base85[n%85], n/85
			}
			b.Write(five[:])
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	return b.String()
}

// lengthMark says how many bytes a line holds.
func lengthMark(n int) byte {
	if n <= 26 {
		return byte('A' + n - 1)
	}
	return byte('a' + n - 27)
}
