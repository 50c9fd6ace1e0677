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
			err := fmt.Errorf("cannot use %s: its SHA-256 is %s where the signed index says %s: the mirror, or something on "+
				"the way to it, changed the file, or it is just being updated; try another mirror, or later", url, digest, b.SHA256)
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
			return fmt.Errorf("%w; try another mirror", err)
		case err == nil:
			continue
		}
		if failures++; failures >= w.fetch.attempts {
			return fmt.Errorf("%w (after %d attempts; a new pull goes on where this one stopped)", err, failures)
		}
		if err := sleep(ctx, pause); err != nil {
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
	response, err := w.fetch.ask(ctx, url, have)
	if err != nil {
		return have, err
	}
	defer response.Body.Close()
	start, err := accept(response, b.Size, have)
	if err != nil {
		return have, err
	}
	w.Update(func(p *Progress) { p.Bytes += start - have })
	if _, err := f.Seek(start, io.SeekStart); err != nil {
		return start, err
	}
	body := newStallReader(response.Body, w.fetch.stall, cancel)
	defer body.stop()
	n, err := io.Copy(f, io.TeeReader(io.LimitReader(body, b.Size-start), progressWriter{w}))
	if cause := context.Cause(ctx); cause != nil && err != nil {
		err = cause
	}
	if err == nil && start+n < b.Size {
		err = fmt.Errorf("the mirror stopped after %d of %d bytes", start+n, b.Size)
	}
	return start + n, err
}

// ask sends one GET, for the bytes from have on, and refuses answers that bring none.
func (f fetcher) ask(ctx context.Context, url string, have int64) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, refusal{error: err}
	}
	if have > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	response, err := f.client.Do(request)
	if err != nil {
		return nil, err
	}
	switch code := response.StatusCode; {
	case code == http.StatusOK, code == http.StatusPartialContent, code == http.StatusRequestedRangeNotSatisfiable:
		return response, nil
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout:
		err = fmt.Errorf("the mirror answers %q", response.Status)
	default:
		err = refusal{fmt.Errorf("the mirror answers %q", response.Status), true}
	}
	response.Body.Close()
	return nil, err
}

// accept returns where in the file the answer's bytes begin.
func accept(response *http.Response, size, have int64) (int64, error) {
	switch response.StatusCode {
	case http.StatusPartialContent:
		want := fmt.Sprintf("bytes %d-%d/%d", have, size-1, size)
		if got := response.Header.Get("Content-Range"); got != want {
			return have, refusal{error: fmt.Errorf("the mirror sends the range %q where %q was asked for", got, want)}
		}
		return have, nil
	case http.StatusRequestedRangeNotSatisfiable:
		return have, refusal{error: fmt.Errorf("the mirror has a shorter file than the %d bytes expected", size)}
	}
	length := response.ContentLength
	if length != size && strings.HasPrefix(response.Header.Get("Content-Type"), "text/html") {
		return have, refusal{error: errors.New("the mirror answers with a web page in place of the file")}
	}
	if length >= 0 && length != size {
		return have, refusal{error: fmt.Errorf("the mirror has a file of %d bytes where %d were expected", length, size)}
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

func newStallReader(r io.Reader, limit time.Duration, cancel context.CancelCauseFunc) *stallReader {
	timer := time.AfterFunc(limit, func() { cancel(fmt.Errorf("the mirror sent nothing for %v", limit)) })
	return &stallReader{r, timer, limit}
}

func (s *stallReader) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.timer.Reset(s.limit)
	return n, err
}

func (s *stallReader) stop() { s.timer.Stop() }

// Get returns a small file that is not known beforehand, at most limit bytes of it.
func (w *Workshop) Get(ctx context.Context, url string, limit int64) ([]byte, error) {
	pause := w.fetch.pause
	for failures := 0; ; {
		data, err := w.get(ctx, url, limit)
		failures++
		if err == nil {
			return data, nil
		}
		if ctx.Err() != nil || isRefusal(err) || failures >= w.fetch.attempts {
			return nil, fmt.Errorf("cannot download %s: %w", url, err)
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
		pause *= 2
	}
}

func (w *Workshop) get(ctx context.Context, url string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	response, err := w.fetch.ask(ctx, url, 0)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body := newStallReader(response.Body, w.fetch.stall, cancel)
	defer body.stop()
	data, err := io.ReadAll(io.LimitReader(body, limit+1))
	switch {
	case err != nil && context.Cause(ctx) != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, fmt.Errorf("the mirror stopped after %d bytes: %w", len(data), err)
	case int64(len(data)) > limit:
		return nil, refusal{error: fmt.Errorf("the mirror sends more than %d bytes", limit)}
	}
	return data, nil
}
