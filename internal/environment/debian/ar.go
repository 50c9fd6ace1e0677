package debian

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// member is one file of an ar archive.
type member struct {
	name string
	data *io.SectionReader
}

const (
	arMagic  = "!<arch>\n"
	arHeader = 60
	// maxMembers bounds a package's archive, which has three.
	maxMembers = 100
)

// readAr lists the members of an ar archive, as deb(5) has them: with short names, sizes in decimal.
func readAr(r io.ReaderAt, size int64) ([]member, error) {
	magic := make([]byte, len(arMagic))
	if _, err := r.ReadAt(magic, 0); err != nil || string(magic) != arMagic {
		return nil, errors.New("it is not an ar archive")
	}
	var members []member
	header := make([]byte, arHeader)
	for pos := int64(len(arMagic)); pos < size; {
		if len(members) == maxMembers {
			return nil, fmt.Errorf("an archive of more than %d members is refused", maxMembers)
		}
		if _, err := r.ReadAt(header, pos); err != nil {
			return nil, errors.New("the archive ends within a header")
		}
		if !bytes.HasSuffix(header, []byte("`\n")) {
			return nil, fmt.Errorf("the archive has no header at byte %d", pos)
		}
		length, err := strconv.ParseInt(strings.TrimRight(string(header[48:58]), " "), 10, 64)
		pos += arHeader
		if err != nil || length < 0 || length > size-pos {
			return nil, fmt.Errorf("the archive's member at byte %d has a strange size", pos)
		}
		name := strings.TrimSuffix(strings.TrimRight(string(header[:16]), " "), "/")
		members = append(members, member{name, io.NewSectionReader(r, pos, length)})
		pos += length + length%2
	}
	return members, nil
}
