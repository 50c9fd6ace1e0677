package link

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/pyro-mcp/pyro/internal/wire"
)

// spool is a disk's end in memory.
type spool [SpoolSize]byte

func (s *spool) WriteAt(b []byte, at int64) (int, error) {
	if at < 0 || at+int64(len(b)) > SpoolSize {
		return 0, errors.New("outside the spool")
	}
	return copy(s[at:], b), nil
}

func (s *spool) read(offset, n int) ([]byte, error) { return bytes.Clone(s[offset : offset+n]), nil }

// spooled serves a guest's import behind a supervisor that has a spool, and gives a client of the supervisor.
func spooled(t *testing.T, h Handler, s io.WriterAt) *Client {
	inner, _ := start(t, h)
	c, _ := start(t, func(ctx context.Context, req Request, stream *wire.Stream) (any, error) {
		i, err := Decode[Import](req)
		if err != nil {
			return nil, err
		}
		return inner.ImportSpooled(ctx, i, stream, s)
	})
	return c
}

func TestImportSpooled(t *testing.T) {
	var s spool
	var got []byte
	sum := func(_ context.Context, req Request, stream *wire.Stream) (any, error) {
		if i, err := Decode[Import](req); err != nil || !i.Spooled {
			return nil, Unsupported(req.Op)
		}
		h := sha256.New()
		n, err := io.Copy(h, SpoolReader(stream, s.read))
		if n > 3*SpoolSize {
			return nil, &Error{Code: CodeBadSeed, Message: "too much"}
		}
		got = h.Sum(nil)
		return ImportResult{Bytes: n}, err
	}
	c := spooled(t, sum, &s)
	random := rand.NewChaCha8([32]byte{})
	for _, size := range []int{0, 1, SpoolSlot - 1, SpoolSlot, SpoolSlot + 1, SpoolSize, 2*SpoolSize + 4097} {
		data := make([]byte, size)
		random.Read(data)
		r, err := c.Import(t.Context(), Import{}, iotest.HalfReader(bytes.NewReader(data)))
		if want := sha256.Sum256(data); err != nil || r.Bytes != int64(size) || !bytes.Equal(got, want[:]) {
			t.Errorf("%d bytes: %+v, %v; the same: %v", size, r, err, bytes.Equal(got, want[:]))
		}
	}
	bad := errors.New("file vanished")
	if _, err := c.Import(t.Context(), Import{},
		io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(bad))); err != bad {
		t.Errorf("a broken source: %v", err)
	}
}

// TestImportSpooledRefused has a guest end an import early: whoever sends must not wait for ever.
func TestImportSpooledRefused(t *testing.T) {
	var s spool
	for name, guest := range map[string]Handler{
		"at once": func(context.Context, Request, *wire.Stream) (any, error) {
			return nil, &Error{Code: CodeBadSeed, Message: "too much"}
		},
		"in the middle": func(_ context.Context, _ Request, stream *wire.Stream) (any, error) {
			if _, err := io.CopyN(io.Discard, SpoolReader(stream, s.read), 2*SpoolSize+1); err != nil {
				return nil, err
			}
			return nil, &Error{Code: CodeBadSeed, Message: "too much"}
		},
	} {
		var refused *Error
		if _, err := spooled(t, guest, &s).Import(t.Context(), Import{}, endless{}); !errors.As(err,
			&refused) || refused.Code != CodeBadSeed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSpoolLies has a guest free what was not filled, and a host name places that are none.
func TestSpoolLies(t *testing.T) {
	for name, freed := range map[string][]byte{"no slot": {7}, "free already": {0, 0, 0}} {
		// Nothing is sent meanwhile: a slot that is filled again in between may be freed again.
		silent, silence := io.Pipe()
		guest := func(_ context.Context, _ Request, stream *wire.Stream) (any, error) {
			defer silence.Close()
			for _, b := range freed {
				stream.Send(KindData, []byte{b})
			}
			<-stream.Broken()
			return nil, io.ErrUnexpectedEOF
		}
		_, err := spooled(t, guest, &spool{}).Import(t.Context(), Import{}, silent)
		if err == nil || !strings.Contains(err.Error(), "has read slot") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, place := range [][2]uint32{{SpoolSize, 1}, {1, 1}, {SpoolSlot, SpoolSlot + 1},
		{1 << 31, 1 << 31}} {
		c, _ := start(t, func(_ context.Context, _ Request, stream *wire.Stream) (any, error) {
			_, err := SpoolReader(stream, (&spool{}).read).Read(make([]byte, 1))
			return nil, err
		})
		b := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, place[0]), place[1])
		if _, err := c.Import(t.Context(), Import{}, bytes.NewReader(b)); err == nil ||
			!strings.Contains(err.Error(), "no place in the spool") {
			t.Errorf("%v: %v", place, err)
		}
	}
}
