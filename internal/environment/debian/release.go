package debian

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/pyro-mcp/pyro/internal/environment"
)

// keyFiles are Debian's archive keys; docs/environments-keys.md lists their fingerprints.
//
//go:embed keys/*.gpg
var keyFiles embed.FS

// debianKeys returns the keys that Debian signs its archive with.
func debianKeys() (openpgp.EntityList, error) {
	names, err := fs.Glob(keyFiles, "keys/*.gpg")
	if err != nil {
		return nil, err
	}
	var all openpgp.EntityList
	for _, name := range names {
		data, err := keyFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		keys, err := openpgp.ReadKeyRing(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("cannot read the archive key %q: %w", name, err)
		}
		all = append(all, keys...)
	}
	return all, nil
}

// release is a verified InRelease: what a suite is made of at a time.
type release struct {
	codename string
	date     time.Time
	byHash   bool
	files    map[string]indexFile
}

// indexFile is a file below a suite's directory.
type indexFile struct {
	sha256 string
	size   int64
}

// maxRelease bounds an InRelease; Debian's largest has 150 KB.
const maxRelease = 16 << 20

// clockSkew is how far ahead of this machine's clock an archive's may be.
const clockSkew = 24 * time.Hour

// verifyRelease checks an InRelease's signature and that it is of the suite and of our time, and reads it.
// Nothing but the signed text is used.
func verifyRelease(data []byte, codename string, keys openpgp.EntityList, now time.Time) (*release, error) {
	block, rest := clearsign.Decode(data)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 ||
		!bytes.HasPrefix(data, []byte("-----BEGIN PGP SIGNED MESSAGE-----")) {
		return nil, errors.New("it is not a signed message; is it a page of a proxy or a portal?")
	}
	if _, err := block.VerifySignature(keys,
		&packet.Config{Time: func() time.Time { return now }}); err != nil {
		return nil, fmt.Errorf("no signature by one of Debian's archive keys that fits: %w", err)
	}
	p, err := parseParagraph(block.Plaintext)
	if err != nil {
		return nil, err
	}
	if got := p.get("Codename"); got != codename {
		return nil, fmt.Errorf("it is of the suite %q", got)
	}
	r := &release{codename: codename, byHash: p.get("Acquire-By-Hash") == "yes"}
	if r.date, err = releaseTime(p.get("Date")); err != nil {
		return nil, err
	}
	if r.date.After(now.Add(clockSkew)) {
		return nil, fmt.Errorf("it is of %s, which is in the future: is the clock of this machine right?",
			day(r.date))
	}
	if until := p.get("Valid-Until"); until != "" {
		limit, err := releaseTime(until)
		if err != nil {
			return nil, err
		}
		if now.After(limit) {
			return nil, fmt.Errorf("it expired on %s: the mirror is out of date, or the clock of this "+
				"machine is wrong; try another mirror", day(limit))
		}
	}
	r.files, err = parseFiles(p.get("SHA256"))
	return r, err
}

func releaseTime(s string) (time.Time, error) {
	for _, layout := range []string{"Mon, _2 Jan 2006 15:04:05 MST", time.RFC1123Z} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%.80q is not a date", s)
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// parseFiles reads the list of a suite's files: digest, size and path on each line.
func parseFiles(list string) (map[string]indexFile, error) {
	files := map[string]indexFile{}
	for line := range strings.SplitSeq(list, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) != 3 || checkDigest(f[0]) != nil {
			return nil, fmt.Errorf("its line %.80q is not of a file", line)
		}
		size, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil || size < 0 {
			return nil, fmt.Errorf("its line %.80q has a strange size", line)
		}
		files[f[2]] = indexFile{f[0], size}
	}
	return files, nil
}

// seen is what is remembered of the newest InRelease of a suite.
type seen struct {
	Date   time.Time `json:"date"`
	Mirror string    `json:"mirror"`
}

// refuseOlder compares a release with the newest one seen, and remembers it if it is as new: so nobody can
// hold back updates by handing out an old archive.
func refuseOlder(statePath string, r *release, mirror string) error {
	var last seen
	data, err := os.ReadFile(statePath)
	if err == nil {
		err = json.Unmarshal(data, &last)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot read when the archive was last seen, from %q (remove it to begin anew): %w",
			statePath, err)
	}
	if r.date.Before(last.Date) {
		return fmt.Errorf("it is of %s, older than that of %s seen before at %s: the mirror is behind, or "+
			"holds back updates; "+
			"try another mirror or wait", day(r.date), day(last.Date), last.Mirror)
	}
	if data, err = json.Marshal(seen{r.date, mirror}); err != nil {
		return err
	}
	return environment.WriteFile(statePath, data)
}
