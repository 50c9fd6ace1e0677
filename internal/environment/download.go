package environment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// refusal is an answer that another attempt would not change.
type refusal struct {
	error
	absent bool // the file is not at this address
}

func (r refusal) Unwrap() error { return r.error }

// download completes the file f, which holds the beginning of b or nothing, and gives it its final name.
func (w *Workshop) download(ctx context.Context, b Blob, f *os.File, final string) error {
	var first error
	for _, url := range b.URLs {
		err := w.downloadFrom(ctx, url, b, f, final)
		var r refusal
		if err == nil || !errors.As(err, &r) || !r.absent {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func (w *Workshop) downloadFrom(ctx context.Context, url string, b Blob, f *os.File, final string) error {
	resumed, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if resumed > b.Size {
		resumed = 0
	}
	for {
		if err := w.transfer(ctx, url, b, f, resumed); err != nil {
			return fmt.Errorf("cannot download %s: %w", url, err)
		}
		digest, size, err := digestFile(f.Name())
		switch {
		case err != nil:
			return err
		case digest == b.SHA256 && size == b.Size:
			// No sync: the file is verified again whenever it is used.
			return errors.Join(os.MkdirAll(filepath.Dir(final), 0o755), os.Rename(f.Name(), final))
		case resumed == 0:
			err := fmt.Errorf("cannot use %s: its SHA-256 is %s where the %s says %s: the %s, or "+
				"something on the way to it, "+
				"changed the file, or it is just being updated; %s", url, digest, b.Server.index(), b.SHA256,
				b.Server, b.Server.remedy("try another %s, or later"))
			w.Update(func(p *Progress) { p.Bytes -= size })
			return errors.Join(refusal{error: err}, f.Truncate(0))
		}
		w.Update(func(p *Progress) { p.Bytes -= b.Size })
		resumed = 0 // what was there before was not the beginning of this file
	}
}

// transfer appends to f, of which the first have bytes count, until it is as long as the blob.
func (w *Workshop) transfer(ctx context.Context, url string, b Blob, f *os.File, have int64) error {
	w.Update(func(p *Progress) { p.Bytes += have })
	pause := w.fetch.pause
	for failures := 0; have < b.Size; {
		got, err := w.part(ctx, url, b, f, have)
		if got > have {
			failures, pause = 0, w.fetch.pause
		}
		have = got
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case isRefusal(err):
			return b.Server.refused(err)
		case err == nil:
			continue
		}
		wait, patient := patience(err, pause)
		if failures++; failures >= w.fetch.attempts || !patient {
			return fmt.Errorf("%w (attempts: %d; a new pull goes on where this one stopped)", err, failures)
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
		pause *= 2
	}
	return f.Truncate(b.Size)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func isRefusal(err error) bool {
	var r refusal
	return errors.As(err, &r)
}

// part makes one request for what is missing and returns how much is there afterwards.
func (w *Workshop) part(ctx context.Context, url string, b Blob, f *os.File, have int64) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	header := http.Header{}
	if have > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	response, err := w.fetch.ask(ctx, Request{URL: url, Server: b.Server, Header: header})
	if err != nil {
		return have, err
	}
	defer response.Body.Close()
	start, err := b.accept(response, have)
	if err != nil {
		return have, err
	}
	w.Update(func(p *Progress) { p.Bytes += start - have })
	if _, err := f.Seek(start, io.SeekStart); err != nil {
		return start, err
	}
	body := newStallReader(response.Body, b.Server, w.fetch.stall, cancel)
	defer body.stop()
	n, err := io.Copy(f, io.TeeReader(io.LimitReader(body, b.Size-start), progressWriter{w}))
	if cause := context.Cause(ctx); cause != nil && err != nil {
		err = cause
	}
	if err == nil && start+n < b.Size {
		err = fmt.Errorf("the %s stopped after %d of %d bytes", b.Server, start+n, b.Size)
	}
	return start + n, err
}

// accept returns where in the file the answer's bytes begin.
func (b Blob) accept(response *http.Response, have int64) (int64, error) {
	refuse := func(format string, args ...any) (int64, error) {
		return have, refusal{error: fmt.Errorf("the %s "+format, append([]any{b.Server}, args...)...)}
	}
	switch response.StatusCode {
	case http.StatusPartialContent:
		want := fmt.Sprintf("bytes %d-%d/%d", have, b.Size-1, b.Size)
		if got := response.Header.Get("Content-Range"); got != want {
			return refuse("sends the range %q where %q was asked for", got, want)
		}
		return have, nil
	case http.StatusRequestedRangeNotSatisfiable:
		return refuse("has a shorter file than the %d bytes expected", b.Size)
	}
	length := response.ContentLength
	if length != b.Size && strings.HasPrefix(response.Header.Get("Content-Type"), "text/html") {
		return refuse("answers with a web page in place of the file")
	}
	if length >= 0 && length != b.Size {
		return refuse("has a file of %d bytes where %d were expected", length, b.Size)
	}
	return 0, nil
}

// progressWriter counts bytes as they pass.
type progressWriter struct{ w *Workshop }

func (p progressWriter) Write(b []byte) (int, error) {
	p.w.Update(func(p *Progress) { p.Bytes += int64(len(b)) })
	return len(b), nil
}

// stallReader ends a transfer that brings nothing for too long.
type stallReader struct {
	io.Reader
	timer *time.Timer
	limit time.Duration
}

func newStallReader(
	r io.Reader, from Server, limit time.Duration, cancel context.CancelCauseFunc,
) *stallReader {
	timer := time.AfterFunc(limit, func() { cancel(fmt.Errorf("the %s sent nothing for %v", from, limit)) })
	return &stallReader{r, timer, limit}
}

func (s *stallReader) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.timer.Reset(s.limit)
	return n, err
}

func (s *stallReader) stop() { s.timer.Stop() }
