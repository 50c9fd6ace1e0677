package debian

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"
)

// deb is a package's file taken apart.
type deb struct {
	control map[string][]byte // files of the control archive
	data    func() (io.ReadCloser, error)
}

// Limits of what a package may hold.
const (
	maxControlFile = 16 << 20
	maxControl     = 64 << 20
	maxData        = 16 << 30
	maxWindow      = 128 << 20 // of memory for decompression
)

// openDeb reads the control archive of a package's file and finds its data.
func openDeb(r io.ReaderAt, size int64) (*deb, error) {
	members, err := readAr(r, size)
	if err != nil {
		return nil, err
	}
	if len(members) == 0 || members[0].name != "debian-binary" {
		return nil, errors.New("it is not a Debian package")
	}
	version, err := io.ReadAll(io.LimitReader(members[0].data, 100))
	if err != nil || !strings.HasPrefix(string(version), "2.") {
		return nil, fmt.Errorf("it is a package of the unknown format %.10q", version)
	}
	d := &deb{}
	for _, m := range members[1:] {
		if name, ok := strings.CutPrefix(m.name, "control.tar"); ok && d.control == nil {
			if d.control, err = readControl(m.data, name); err != nil {
				return nil, fmt.Errorf("cannot read its control archive: %w", err)
			}
		}
		if name, ok := strings.CutPrefix(m.name, "data.tar"); ok && d.data == nil {
			d.data = func() (io.ReadCloser, error) { return decompress(m.data, name) }
		}
	}
	if d.control["control"] == nil || d.data == nil {
		return nil, errors.New("the package has no control file or no data")
	}
	return d, nil
}

// decompress reads what has the suffix of one of Debian's compressions. It ends with an error past maxData.
func decompress(r io.Reader, suffix string) (io.ReadCloser, error) {
	var plain io.Reader
	closeIt := func() error { return nil }
	switch suffix {
	case "":
		plain = r
	case ".gz":
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, err
		}
		plain = z
	case ".xz":
		z, err := xz.NewReader(r, maxWindow)
		if err != nil {
			return nil, err
		}
		plain = z
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		plain, closeIt = z, func() error { z.Close(); return nil }
	default:
		return nil, fmt.Errorf("the compression %q is unknown", suffix)
	}
	return &bounded{plain, maxData, closeIt}, nil
}

// bounded is a reader that ends with an error after left bytes.
type bounded struct {
	io.Reader
	left    int64
	closeIt func() error
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errors.New("it is too large when decompressed")
	}
	return n, err
}

func (b *bounded) Close() error { return b.closeIt() }

// readControl returns the files of a control archive by name.
func readControl(r io.Reader, suffix string) (map[string][]byte, error) {
	plain, err := decompress(r, suffix)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	files := map[string][]byte{}
	tr := tar.NewReader(io.LimitReader(plain, maxControl))
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		name := path.Clean(h.Name)
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if strings.Contains(name, "/") || !isPackageName(name) || h.Size > maxControlFile {
			return nil, fmt.Errorf("the control file %.80q is refused", h.Name)
		}
		if files[name], err = io.ReadAll(tr); err != nil {
			return nil, err
		}
	}
}
